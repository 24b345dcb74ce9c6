"""The quiet display: no progress at all; the result table, which is the product, still appears."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

from qllm.display.protocol import CandidateLine, Level, PilotLine, Row
from qllm.display.rows import write_table


class NoBar:
    """A bar that nobody sees."""

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Nothing to show."""

    def finish(self, outcome: str = "") -> None:
        """Nothing to take away."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class NoDisplay:
    """Writes the result table to stdout and nothing else; under ``json`` nothing at all."""

    def __init__(self, stdout: TextIO, *, json: bool = False) -> None:
        self._out, self._json = stdout, json

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> NoBar:
        """A bar that nobody sees."""
        return NoBar()

    def candidate(self, line: CandidateLine) -> None:
        """Quiet."""

    def pilot(self, line: PilotLine) -> None:
        """Quiet."""

    def note(self, text: str, level: Level = "info") -> None:
        """Quiet."""

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """The result table, unless stdout belongs to JSON."""
        if rows and not self._json:
            write_table(self._out, rows, title=title, colour=False)

    def close(self) -> None:
        """Nothing to restore."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
