"""What several seeds say together: a curve through their middle with an interval."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from marl.statistics import spread
from qllm.facts.curves import curve_of
from qllm.tui.reading.curves import Point, thinned

METRIC_POINTS = 200
"""Of a metric over seeds: every one has an interval that costs a bootstrap, and no terminal is much
wider."""


@dataclass(frozen=True)
class Curve:
    """One quantity of one algorithm over its seeds: the returns, or a metric."""

    algo: str
    seeds: int
    steps: tuple[float, ...]
    wall: tuple[float, ...]
    """Seconds of training."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds."""
    low: tuple[float, ...]
    """Ends of the 95% bootstrap interval over seeds; where one seed stands alone, the mean."""
    high: tuple[float, ...]


def curves_of(points: dict[str, list[list[Point]]], memory: dict[str, Any]) -> tuple[Curve, ...]:
    """A curve for each algorithm; one with no new evaluation is the same object as before."""
    known: dict[str, tuple[object, Curve | None]] = memory.setdefault("curves", {})
    for algo, seeds in points.items():
        state = [(len(evaluated), id(evaluated)) for evaluated in seeds]
        if algo not in known or known[algo][0] != state:
            known[algo] = state, _curve(algo, seeds)
    return tuple(curve for algo in points if (curve := known[algo][1]) is not None)


def _curve(algo: str, seeds: Sequence[Sequence[Point]]) -> Curve | None:
    evaluated = {k: [(p.env_steps, p.mean) for p in own] for k, own in enumerate(seeds)}
    found = curve_of(algo, evaluated)
    if found is None:
        return None
    there = [own for own in seeds if own]
    return Curve(
        algo,
        len(there),
        found.steps,
        tuple(fmean(own[k].wall_s for own in there) for k in found.at),
        found.centre,
        found.low or found.centre,
        found.high or found.centre,
    )


Series = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Environment steps in ascending order, seconds, values."""


def metric_curve(algo: str, seeds: Sequence[Series]) -> Curve | None:
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
    spreads = [spread(here) for here in scores]
    ends = [ci or (centre, centre) for centre, ci in spreads]
    return Curve(
        algo,
        len(there),
        tuple(steps),
        tuple(wall),
        tuple(centre for centre, _ in spreads),
        tuple(low for low, _ in ends),
        tuple(high for _, high in ends),
    )


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
