"""Contents of a report.

Plain frozen records between ``collect`` (which reads the store) and ``render`` (which writes HTML).
Strings may hold anything a model wrote; rendering makes them harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prompts.cards import TaskCard
from qllm.facts.curves import Curve
from qllm.facts.results import ResultRow
from qllm.facts.runs import RunFacts
from qllm.facts.search import SearchFacts
from qllm.report.episode import CreditEpisode


@dataclass(frozen=True)
class CreditFacts:
    """A training's credit function that was not written in the same run."""

    name: str
    """Its origin: a file's path, or a candidate of another run."""
    graph_hash: str | None
    code: str | None
    """Its source; None where lost."""
    mathematics: str | None = None


@dataclass(frozen=True)
class Report:
    """A whole report."""

    run: RunFacts
    task: TaskCard | None = None
    """None where the card is no longer there."""
    synthesis: SearchFacts | None = None
    """None for a plain training or comparison."""
    credit: CreditFacts | None = None
    episode: CreditEpisode | None = None
    """An episode under the function; None without one, or without a playable task."""
    rows: tuple[ResultRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    metric_curves: tuple[tuple[Curve, ...], ...] = ()
    """Those of the card's metrics, one group for each."""
    curve_words: str = ""
    """Meaning of the curves' line and band."""
    seeds: tuple[int, ...] = ()
    settings_yaml: str = ""
    initial: tuple[str, ...] = ()
    """Source of the trainings' initial networks, in words."""
    versions: Mapping[str, Any] = field(default_factory=dict)
