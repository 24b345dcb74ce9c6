"""The display for logs and pipes: one line per event, long work at most every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO, cast

from qllm.display.base import Display, Level
from qllm.display.pace import Pace, PacedBar
from qllm.display.streams import SteadyStream
from qllm.text import indented, one_line, safe
from qllm.units import count, duration, number

if TYPE_CHECKING:
    from sandbox.report import CheckReport


class PlainBar(PacedBar):
    """Writes a line when work begins, every ten seconds, and when it ends."""

    every_s = 10.0
    detail_length = 120

    def __init__(self, say: Callable[[str], None], title: str, pace: Pace) -> None:
        super().__init__(title, pace)
        self._say = say
        if pace.done:
            say(f"{title}: goes on at {pace.of_total()}")
        else:
            length = f" ({count(pace.total)} {pace.unit})" if pace.total is not None else ""
            say(f"{title}: begins{length}")

    def draw(self) -> None:
        parts = [*self.pace.parts(), *filter(None, [self.detail])]
        self._say(f"{self.title}: {', '.join(parts)}")

    def leave(self, outcome: str, *, good: bool) -> None:
        self._say(f"{self.title}: {outcome}")


class PlainDisplay(Display):
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
        super().__init__(self._err if json else stdout)
        self._clock = clock

    def _say(self, line: str) -> None:
        self._err.write(line + "\n")
        self._err.flush()

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> PlainBar:
        return PlainBar(self._say, one_line(title, 80), Pace(total, unit, done, self._clock))

    def candidate(self, label: str, report: CheckReport, detail: str = "") -> None:
        """One line: the verdict, where, why."""
        facts = [f"candidate {one_line(label, 16)} {one_line(report.verdict, 16)}"]
        if report.rule:
            facts[0] += f" at {one_line(report.stage, 16)} ({one_line(report.rule, 60)})"
        facts += [f"{report.signature} form"] if report.signature else []
        facts += [f"IGM {report.igm}"] if report.igm else []
        facts += [f"finite {report.finite}"] if report.finite else []
        facts += [duration(report.elapsed_s)] if report.elapsed_s else []
        said = ", ".join(one_line(fact, 120) for fact in facts)
        self._say(said + (f": {one_line(detail)}" if detail else ""))

    def pilot(self, label: str, score: float, baseline: float | None, detail: str = "") -> None:
        beside = f" (baseline {number(baseline)})" if baseline is not None else ""
        detail = f", {one_line(detail)}" if detail else ""
        self._say(f"pilot {one_line(label, 16)}: return {number(score)}{beside}{detail}")

    def note(self, text: str, level: Level = "info") -> None:
        prefix = "" if level == "info" else f"{level}: "
        self._say(safe(indented(prefix + text), newlines=True))
