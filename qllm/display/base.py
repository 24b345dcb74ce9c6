"""Displays of a job: their interface, which is also the quiet display.

Jobs translate engine events into these calls and nothing else; an engine never sees a display.
Progress goes to stderr. The result table is the product, so it goes to stdout, except where stdout
belongs to a JSON document. Every string handed over may come from a model: displays make it
harmless themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TextIO

if TYPE_CHECKING:
    from qllm.display.rows import Row
    from sandbox.report import CheckReport

Level = Literal["info", "warning", "error"]
DisplayKind = Literal["rich", "plain", "none"]


class Bar:
    """One piece of work with a known or unknown length. Bars may nest. This one is not shown."""

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Report progress. Cheap enough for every event: displays throttle by themselves.

        Args:
            done: units finished, counted from the start of the work (not of this process).
            rate: units per second as the engine measured it; None lets the display measure.
            detail: a few words beside the bar; None leaves the last ones standing.
        """

    def finish(self, outcome: str = "") -> None:
        """Take the bar away and leave one line behind. Calling it twice is fine."""

    def break_off(self, kind: type[BaseException]) -> None:
        """Take the bar away where an exception ended the work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.break_off(kind)


class Display:
    """A screen, a log or nothing; as a context manager it restores the terminal.

    This one shows the result table on stdout and nothing else, under ``json`` nothing at all.
    """

    colour: ClassVar[bool] = False
    """Whether the result table is coloured, on a terminal."""

    def __init__(self, stdout: TextIO, *, json: bool = False) -> None:
        self._out = None if json else stdout

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
        return Bar()

    def candidate(self, label: str, report: CheckReport, detail: str = "") -> None:
        """Show one checked candidate.

        Args:
            label: its place: ``1.3`` (round 1, slot 3), or ``1.3.1`` for its first repair.
            report: what the sandbox says of it.
            detail: one line in words, such as the start of the feedback.
        """

    def pilot(self, label: str, score: float, baseline: float | None, detail: str = "") -> None:
        """Show the team return of a pilot's last evaluation, beside the baseline's if one ran."""

    def note(self, text: str, level: Level = "info") -> None:
        """Show a message of one line or a few."""

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """Show the result rows of train, compare or run."""
        from qllm.display.rows import write_table  # and numpy, which a check does without

        if rows and self._out is not None:
            write_table(self._out, rows, title=title, colour=self.colour)

    def close(self) -> None:
        """End all bars and restore the terminal. Calling it twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
