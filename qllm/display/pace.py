"""Progress, speed and remaining time of one piece of work, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from qllm.display.base import Bar
from qllm.text import one_line
from qllm.units import count, duration


class Pace:
    """Progress of one piece of work. The rate is the engine's own, or measured since the start."""

    def __init__(self, total: int | None, unit: str, done: int, clock: Callable[[], float]) -> None:
        self.total, self.unit, self.clock = total, unit, clock
        self.done = self._done_at_start = done
        self.started = clock()
        self._told_rate: float | None = None

    def update(self, done: int, rate: float | None = None) -> None:
        self.done = done
        if rate is not None:
            self._told_rate = rate

    @property
    def rate(self) -> float | None:
        """Units per second; None while nothing is known."""
        if self._told_rate is not None:
            return self._told_rate
        elapsed, moved = self.clock() - self.started, self.done - self._done_at_start
        return moved / elapsed if moved > 0 and elapsed > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at the present rate; None while unknown."""
        rate = self.rate
        if self.total is None or not rate:
            return None
        return max(0, self.total - self.done) / rate

    def of_total(self) -> str:
        """``12k of 20k steps``."""
        of = "" if self.total is None else f" of {count(self.total)}"
        return f"{count(self.done)}{of} {self.unit}"

    def parts(self) -> list[str]:
        """Progress, rate and time left, as far as they are known."""
        parts, rate, left = [self.of_total()], self.rate, self.left_s
        if rate is not None:
            parts.append(f"{count(rate)} {self.unit}/s")
        if left is not None:
            parts.append(f"{duration(left)} left")
        return parts

    def summary(self) -> str:
        """Amount, duration and rate, once the work has ended."""
        elapsed = self.clock() - self.started
        rate = f", {count(self.rate)} {self.unit}/s" if self.rate is not None else ""
        return f"{count(self.done)} {self.unit} in {duration(elapsed)}{rate}"


class PacedBar(Bar):
    """A bar that is redrawn at a limited rate, and ends once."""

    every_s: ClassVar[float]
    detail_length: ClassVar[int]

    def __init__(self, title: str, pace: Pace) -> None:
        self.title, self.pace, self.detail = title, pace, ""
        self._drawn, self._open = pace.started, True

    def draw(self) -> None:
        raise NotImplementedError

    def leave(self, outcome: str, *, good: bool) -> None:
        """Put one line in the bar's place."""
        raise NotImplementedError

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Take in progress, and draw it if it is time to."""
        self.pace.update(done, rate)
        if detail is not None:
            self.detail = one_line(detail, self.detail_length)
        now = self.pace.clock()
        if self._open and now - self._drawn >= self.every_s:
            self._drawn = now
            self.draw()

    def finish(self, outcome: str = "") -> None:
        """Leave the outcome, or else how long it took."""
        self._end(outcome or self.pace.summary(), good=True)

    def break_off(self, kind: type[BaseException]) -> None:
        """Leave how far it came."""
        how = "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
        self._end(f"{how} at {self.pace.of_total()}", good=False)

    def _end(self, outcome: str, *, good: bool) -> None:
        if self._open:
            self._open = False
            self.leave(one_line(outcome), good=good)
