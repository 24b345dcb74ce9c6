"""The display for logs and pipes: one line per event, long work at most every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TextIO, cast

from qllm.display.pace import Pace
from qllm.display.protocol import CandidateLine, Level, PilotLine, Row
from qllm.display.rows import write_table
from qllm.display.streams import SteadyStream
from qllm.text import one_line, safe
from qllm.units import count, duration, number

EVERY_S = 10.0
"""Seconds between two progress lines of one bar."""


class PlainBar:
    """Writes a line when work begins, every ``EVERY_S`` seconds, and when it ends."""

    def __init__(self, say: Callable[[str], None], title: str, pace: Pace, resumed: bool) -> None:
        self._say, self._title, self._pace = say, title, pace
        self._last = pace.started
        self._detail = ""
        self._finished = False
        if resumed:
            self._say(f"{title}: goes on at {pace.of_total()}")
        else:
            length = f" ({count(pace.total)} {pace.unit})" if pace.total is not None else ""
            self._say(f"{title}: begins{length}")

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Record progress; a line at most every ``EVERY_S`` seconds."""
        self._pace.update(done, rate)
        if detail is not None:
            self._detail = one_line(detail, 120)
        now = self._pace.clock()
        if now - self._last >= EVERY_S:
            self._last = now
            self._say(f"{self._title}: {', '.join([*self._pace.parts(), *self._tail()])}")

    def _tail(self) -> list[str]:
        return [self._detail] if self._detail else []

    def finish(self, outcome: str = "") -> None:
        """One last line."""
        if not self._finished:
            self._finished = True
            self._say(f"{self._title}: {one_line(outcome) if outcome else self._pace.summary()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish("" if kind is None else self._pace.broken_off(kind))


class PlainDisplay:
    """Lines on stderr; the result table on stdout, or on stderr under ``json``."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        json: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._err = cast(TextIO, SteadyStream(stderr))
        self._out = self._err if json else stdout
        self._clock = clock

    def _say(self, line: str) -> None:
        self._err.write(line + "\n")
        self._err.flush()

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> PlainBar:
        """Start a piece of work with a line of its own."""
        pace = Pace(total, unit, done, self._clock)
        return PlainBar(self._say, one_line(title, 80), pace, resumed=done > 0)

    def candidate(self, line: CandidateLine) -> None:
        """One line: the verdict, where, why."""
        facts = [f"candidate {one_line(line.label, 16)} {one_line(line.verdict, 16)}"]
        if line.rule:
            facts[0] += f" at {one_line(line.stage, 16)} ({one_line(line.rule, 60)})"
        facts += [f"{line.signature} form"] if line.signature else []
        facts += [f"IGM {line.igm}"] if line.igm else []
        facts += [f"finite {line.finite}"] if line.finite else []
        facts += [duration(line.elapsed_s)] if line.elapsed_s is not None else []
        said = ", ".join(one_line(fact, 120) for fact in facts)
        self._say(said + (f": {one_line(line.detail)}" if line.detail else ""))

    def pilot(self, line: PilotLine) -> None:
        """One line: the score beside the baseline's."""
        beside = f" (baseline {number(line.baseline)})" if line.baseline is not None else ""
        detail = f", {one_line(line.detail)}" if line.detail else ""
        self._say(f"pilot {one_line(line.label, 16)}: return {number(line.score)}{beside}{detail}")

    def note(self, text: str, level: Level = "info") -> None:
        """The text; warnings and errors say so."""
        self._say(("" if level == "info" else f"{level}: ") + safe(text, newlines=True))

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """The result table, without colour."""
        if rows:
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
        self.close()
