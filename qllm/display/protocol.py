"""What a job may ask of a screen. Jobs translate engine events into these calls and nothing else.

A display has no opinion on engines, and an engine never sees one. Progress goes to stderr. The
result table is the product, so it goes to stdout, except where stdout belongs to a JSON document.
Every string handed over may come from a model: displays make it harmless themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

Level = Literal["info", "warning", "error"]
DisplayKind = Literal["rich", "plain", "none"]
Row = Mapping[str, Any]
"""One row of ``qllm train`` or ``qllm compare``, with the keys of their JSON."""


@dataclass(frozen=True)
class CandidateLine:
    """What a screen shows of a candidate when the sandbox has judged it."""

    label: str
    """Where it stands, such as ``1.3`` (round 1, slot 3) or ``1.3.1`` for its first repair."""
    verdict: str
    """``accepted`` or ``rejected``."""
    stage: str
    """The stage reached: policy, compile, export, graph, prove, properties, done."""
    rule: str | None = None
    """Which rule rejected it."""
    signature: str | None = None
    """``weights`` or ``mixing``."""
    igm: str | None = None
    finite: str | None = None
    elapsed_s: float | None = None
    detail: str = ""
    """One line in words, such as the start of the feedback or ``same graph as 1.1``."""


@dataclass(frozen=True)
class PilotLine:
    """A pilot score as it comes in."""

    label: str
    score: float
    """Team return of the pilot's final evaluation."""
    baseline: float | None = None
    """The same for the baseline of that pilot, where one ran."""
    detail: str = ""


class Bar(Protocol):
    """One piece of work with a known or unknown length. Bars may nest."""

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Report progress. Cheap enough for every event: displays throttle by themselves.

        Args:
            done: units finished, counted from the start of the work (not of this process).
            rate: units per second as the engine measured it; None lets the display measure.
            detail: a few words beside the bar; None leaves the last ones standing.
        """
        ...

    def finish(self, outcome: str = "") -> None:
        """Take the bar away and leave one line behind. Calling it twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Display(Protocol):
    """A screen, a log or nothing. Use as a context manager: leaving it restores the terminal."""

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> Bar:
        """Start a piece of work.

        Args:
            title: what it is, such as ``vdn, seed 0``.
            total: its length in ``unit``; None when unknown.
            unit: plural noun of what is counted.
            done: where it starts; more than 0 for resumed work.
        """
        ...

    def candidate(self, line: CandidateLine) -> None:
        """Show one judged candidate."""
        ...

    def pilot(self, line: PilotLine) -> None:
        """Show one pilot score."""
        ...

    def note(self, text: str, level: Level = "info") -> None:
        """Say something in a line or a few."""
        ...

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """Show the result rows of train, compare or run: on stdout, or on stderr under ``json``."""
        ...

    def close(self) -> None:
        """End all bars and restore the terminal. Calling it twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
