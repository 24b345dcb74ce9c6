"""Differences between two functions' pilots, paired by seed, with an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from synth.pilot import PilotScore

IntervalOf = Callable[[Sequence[float]], tuple[float, float] | None]
"""An interval of the mean of paired differences; ``None`` where they are too few, or do not vary.
The caller's statistics: ``marl.statistics.t_interval``."""

Measure = Literal["return", "area"]
"""Final return, or area under the curve (the mean of all evaluations after the first step)."""

NAMES: dict[Measure, str] = {"return": "final return", "area": "area under the curve"}


@dataclass(frozen=True)
class Gap:
    """By how much one function is above another, over the seeds that both were trained with."""

    other: str
    """Key of the other one."""
    measure: Measure
    steps: int
    """Environment steps of the trainings that are compared."""
    mean: float
    ci: tuple[float, float] | None
    seeds: int

    @property
    def clear(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.ci is not None and self.ci[0] > 0

    def in_words(self) -> str:
        """``+0.12 [-0.05, 0.29] on 3 seeds after 8,200 steps``."""
        return f"{difference_in_words(self.mean, self.ci, self.seeds)} after {self.steps:,} steps"


def difference_in_words(mean: float, ci: tuple[float, float] | None, seeds: int) -> str:
    """A paired difference with its interval and the number of seeds behind it."""
    ends = f"[{ci[0]:.3g}, {ci[1]:.3g}]" if ci is not None else "without an interval"
    return f"{mean:+.3g} {ends} on {seeds} seed{'' if seeds == 1 else 's'}"


def by_seed(score: PilotScore, measure: Measure) -> tuple[float, ...]:
    """A function's number for each seed."""
    return score.finals if measure == "return" else score.areas


def gap(
    one: PilotScore, other: PilotScore, steps: int, interval: IntervalOf, measure: Measure
) -> Gap:
    """One function against another after the same steps with the same seeds."""
    pairs = zip(by_seed(one, measure), by_seed(other, measure), strict=True)
    differences = [mine - theirs for mine, theirs in pairs]
    ci = interval(differences)
    return Gap(other.key, measure, steps, fmean(differences), ci, len(differences))
