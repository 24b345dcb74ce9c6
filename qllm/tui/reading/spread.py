"""Curves over several seeds: centre and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from marl.statistics import spread
from qllm.facts.curves import curve_of
from qllm.tui.reading.curves import Point, thinned

METRIC_POINTS = 200
"""Points of a metric's curve; each costs a bootstrap."""


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
    """Ends of the 95% bootstrap interval over seeds; with one seed, the mean."""
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
    """One metric of several trainings at common steps, linear between the points of each.

    A training counts from its first to its last point only. None where there is no point at all.
    """
    there = [series for series in seeds if series[0]]
    if not there:
        return None
    longest = max((series[0] for series in there), key=lambda steps: (steps[-1], len(steps)))
    at = thinned(longest, METRIC_POINTS)
    walls = np.array([np.interp(at, steps, wall) for steps, wall, _ in there])
    values = np.array([np.interp(at, steps, value) for steps, _, value in there])
    within = np.array([[steps[0] <= k <= steps[-1] for k in at] for steps, _, _ in there])
    spreads = [
        spread(tuple(own[here].tolist())) for own, here in zip(values.T, within.T, strict=True)
    ]
    ends = [ci or (centre, centre) for centre, ci in spreads]
    return Curve(
        algo,
        len(there),
        at,
        tuple(float(own[here].mean()) for own, here in zip(walls.T, within.T, strict=True)),
        tuple(centre for centre, _ in spreads),
        tuple(low for low, _ in ends),
        tuple(high for _, high in ends),
    )
