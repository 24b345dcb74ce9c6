"""What several seeds say together: a curve through their middle with an interval."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from marl.statistics import RESAMPLES, bootstrap_interval, iqm
from qllm.tui.reading.curves import Point, thinned

CURVE_POINTS = 300
"""Of each algorithm's curve: every one has an interval that costs a bootstrap, and no terminal is
wider."""

METRIC_POINTS = 200
"""Of a metric over seeds."""

_RESAMPLES = 500
"""Of the intervals in the picture. The newest stands in the legend as a number, and is that of
tables and reports."""

_Known = dict[tuple[int, tuple[float, ...]], tuple[float, float, float]]
"""Intervals that were computed before, by their resamples and the scores they are of."""


@dataclass(frozen=True)
class Curve:
    """One quantity of one algorithm over its seeds: the returns, or a metric."""

    algo: str
    seeds: int
    steps: tuple[float, ...]
    wall: tuple[float, ...]
    """Seconds of training."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds that came so far."""
    low: tuple[float, ...]
    """Ends of the 95% bootstrap interval over seeds; where one seed stands alone, the mean."""
    high: tuple[float, ...]


def curves_of(points: dict[str, list[list[Point]]], memory: dict[str, Any]) -> tuple[Curve, ...]:
    """A curve for each algorithm; one with no new evaluation is the same object as before.

    The k-th point is of the k-th evaluations.
    """
    known: dict[str, tuple[object, Curve | None]] = memory.setdefault("curves", {})
    for algo, seeds in points.items():
        state = [(len(evaluated), id(evaluated)) for evaluated in seeds]
        if algo not in known or known[algo][0] != state:
            evaluated = [points for points in seeds if points]
            known[algo] = state, _curve(algo, evaluated, memory.setdefault("intervals", {}))
    return tuple(curve for algo in points if (curve := known[algo][1]) is not None)


def _curve(algo: str, seeds: Sequence[Sequence[Point]], known: _Known) -> Curve | None:
    if not seeds:
        return None
    at = thinned(range(max(map(len, seeds))), CURVE_POINTS)
    steps, wall, scores = [], [], []
    for k in at:
        there = [points[k] for points in seeds if len(points) > k]
        scores.append(tuple(point.mean for point in there))
        steps.append(sum(point.env_steps for point in there) / len(there))
        wall.append(sum(point.wall_s for point in there) / len(there))
    return _drawn(algo, len(seeds), steps, wall, scores, known)


Series = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Environment steps in ascending order, seconds, values."""


def metric_curve(algo: str, seeds: Sequence[Series], memory: dict[str, Any]) -> Curve | None:
    """One metric of several trainings at common steps, between which each is taken as straight.

    A training counts from its first to its last point only. None where there is no point at all.
    """
    there = [series for series in seeds if series[0]]
    if not there:
        return None
    longest = max((series[0] for series in there), key=lambda steps: (steps[-1], len(steps)))
    steps: list[float] = []
    wall: list[float] = []
    scores: list[tuple[float, ...]] = []
    for at in thinned(longest, METRIC_POINTS):
        read = [_at(series, at) for series in there if series[0][0] <= at <= series[0][-1]]
        steps.append(at)
        wall.append(sum(seconds for seconds, _ in read) / len(read))
        scores.append(tuple(value for _, value in read))
    return _drawn(algo, len(there), steps, wall, scores, memory.setdefault("intervals", {}))


def _at(series: Series, step: float) -> tuple[float, float]:
    """Seconds and value at a step within the series."""
    steps, wall, values = series
    k = bisect_left(steps, step)
    if steps[k] == step:
        return wall[k], values[k]
    part = (step - steps[k - 1]) / (steps[k] - steps[k - 1])
    return (
        wall[k - 1] + part * (wall[k] - wall[k - 1]),
        values[k - 1] + part * (values[k] - values[k - 1]),
    )


def _drawn(
    algo: str,
    seeds: int,
    steps: Sequence[float],
    wall: Sequence[float],
    scores: Sequence[tuple[float, ...]],
    known: _Known,
) -> Curve:
    spreads = [_spread(here, known, _RESAMPLES) for here in scores[:-1]]
    spreads.append(_spread(scores[-1], known, RESAMPLES))
    centre, low, high = zip(*spreads, strict=True)
    return Curve(algo, seeds, tuple(steps), tuple(wall), centre, low, high)


def _spread(scores: tuple[float, ...], known: _Known, resamples: int) -> tuple[float, float, float]:
    """Interquartile mean of seeds' scores and the ends of its interval."""
    if len(scores) == 1:
        return scores[0], scores[0], scores[0]
    place = resamples, scores
    if place not in known:
        middle = float(iqm(scores))
        ends = bootstrap_interval([scores], iqm, resamples=resamples) or (middle, middle)
        known[place] = middle, *ends
    return known[place]
