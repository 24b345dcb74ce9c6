"""What a report shows, and nothing of where it comes from.

Plain frozen records between ``collect`` (which reads the store) and ``render`` (which writes HTML).
Strings may hold anything a model wrote; rendering makes them harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prompts.cards import TaskCard
from qllm.facts.runs import RunFacts
from qllm.facts.search import SearchFacts
from qllm.report.episode import CreditEpisode


@dataclass(frozen=True)
class ResultRow:
    """One row of the result table: a seed, or an algorithm over its seeds (``seed`` None)."""

    algo: str
    seed: int | None
    env_steps: int | None = None
    env_steps_per_s: float | None = None
    metrics: Mapping[str, tuple[float, tuple[float, float] | None]] = field(default_factory=dict)
    """The card's metrics: mean, and interval over seeds."""
    return_mean: float | None = None
    return_iqm: float | None = None
    return_ci: tuple[float, float] | None = None
    """Of the interquartile mean, which only an algorithm's row has."""
    return_mean_ci: tuple[float, float] | None = None
    return_ci_over: str | None = None
    best_return_mean: float | None = None
    return_auc: float | None = None
    learnable_parameters: int | None = None
    pilot_steps: int | None = 0
    """Environment steps spent on choosing its function; None where nobody recorded them."""
    wall_s: float | None = None
    status: str = "finished"
    """Of a seed's training; a stopped one shows what it reached."""


@dataclass(frozen=True)
class Curve:
    """Learning curve of one algorithm; ``centre``, ``low`` and ``high`` go with ``steps``."""

    algo: str
    steps: tuple[int, ...]
    """Environment steps of the evaluations that every seed has."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds of each evaluation's mean team return."""
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    """Ends of the interval over seeds; None with a single seed."""
    seeds: tuple[int, ...]
    cut: bool = False
    """Whether some seed went on after the last step."""
    at: tuple[int, ...] = ()
    """Numbers of the evaluations, from 0; a long curve is thinned."""
    quantity: str = ""
    """Name of the card's metric that it shows; without one it is the team return."""


@dataclass(frozen=True)
class CreditFacts:
    """The credit function that a training was given, where it was not written in the same run."""

    name: str
    """Where it came from: a file's path, or a candidate of another run."""
    graph_hash: str | None
    code: str | None
    """Its source; None where it is no longer known."""
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
    """The function at work; None where there is none, or its task cannot be played."""
    rows: tuple[ResultRow, ...] = ()
    curves: tuple[Curve, ...] = ()
    metric_curves: tuple[tuple[Curve, ...], ...] = ()
    """Those of the card's metrics, one group for each."""
    curve_words: str = ""
    """What the curves' line and band are, in words."""
    seeds: tuple[int, ...] = ()
    settings_yaml: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
