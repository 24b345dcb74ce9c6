"""How far a piece of work is, how fast it goes and how long it will take, in words."""

from __future__ import annotations

from collections.abc import Callable

from qllm.units import count, duration


class Pace:
    """Progress of one piece of work. The rate is the engine's own, or measured since the start."""

    def __init__(self, total: int | None, unit: str, done: int, clock: Callable[[], float]) -> None:
        self.total, self.unit, self.clock = total, unit, clock
        self.done = self._done_at_start = done
        self.started = clock()
        self._told_rate: float | None = None

    def update(self, done: int, rate: float | None = None) -> None:
        """Take in the latest figures."""
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
        if self.total is None:
            return f"{count(self.done)} {self.unit}"
        return f"{count(self.done)} of {count(self.total)} {self.unit}"

    def parts(self) -> list[str]:
        """Progress, rate and time left, as far as they are known."""
        parts, rate, left = [self.of_total()], self.rate, self.left_s
        if rate is not None:
            parts.append(f"{count(rate)} {self.unit}/s")
        if left is not None:
            parts.append(f"{duration(left)} left")
        return parts

    def summary(self) -> str:
        """What stands there when the work has ended."""
        elapsed = self.clock() - self.started
        rate = f", {count(self.rate)} {self.unit}/s" if self.rate is not None else ""
        return f"{count(self.done)} {self.unit} in {duration(elapsed)}{rate}"

    def broken_off(self, kind: type[BaseException]) -> str:
        """What stands there when an exception ended the work."""
        how = "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
        return f"{how} at {self.of_total()}"
