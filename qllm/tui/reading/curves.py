"""Evaluations of trainings, followed while they are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm.facts.runs import RunFacts
    from qllm.store.store import Store

MOST_POINTS = 1_000
"""Of a curve for a widget."""


@dataclass(frozen=True)
class Point:
    """One evaluation of one training."""

    env_steps: int
    wall_s: float
    mean: float
    """Mean return of its episodes."""


@dataclass
class Tail:
    """The evaluations of one training, read so far."""

    attempt: int = 0
    last_id: int = 0
    whole: bool = False
    """Whether the training had ended when they were read."""
    points: list[Point] = field(default_factory=list)


def follow(
    store: Store, run_id: int, attempt: int, active: bool, tails: dict[int, Tail]
) -> list[Point]:
    """The evaluations of a training; only those after the last one known are fetched.

    A new attempt supersedes some, so that all are fetched again.
    """
    tail = tails.get(run_id)
    if tail is None or tail.attempt != attempt:
        tail = tails[run_id] = Tail(attempt)
    if attempt == 0 or tail.whole:
        return tail.points
    for found in store.training.evaluations(run_id, after_id=tail.last_id):
        known = [value for value in found.returns if value is not None and math.isfinite(value)]
        tail.last_id = found.id
        if known:
            mean = sum(known) / len(known)
            tail.points.append(Point(found.env_steps, found.wall_s, mean))
    tail.whole = not active
    return tail.points


def follow_all(
    store: Store, trainings: Sequence[RunFacts], tails: dict[int, Tail]
) -> dict[str, list[list[Point]]]:
    """By algorithm the evaluations of the trainings that count."""
    from qllm.facts.curves import counted

    seeds: dict[str, list[tuple[bool, list[Point]]]] = {}
    for one in trainings:
        points = follow(store, one.id, one.attempt, one.active, tails)
        seeds.setdefault(one.algo, []).append((one.status == "finished", points))
    return {
        algo: [points for _, points in counted(own, lambda seed: seed[0])]
        for algo, own in seeds.items()
    }


def mean_curve(seeds: Sequence[Sequence[Point]]) -> list[float]:
    """Mean over seeds of every evaluation, to the end of the shortest seed's."""
    there = [points for points in seeds if points]
    length = min(map(len, there), default=0)
    return [sum(points[k].mean for points in there) / len(there) for k in range(length)]


def thinned(points: Sequence[Any], most: int = MOST_POINTS) -> tuple[Any, ...]:
    """Evenly spaced points, with the first and the last.

    Args:
        most: at least 2.
    """
    if len(points) <= most:
        return tuple(points)
    step = (len(points) - 1) / (most - 1)
    return tuple(points[round(k * step)] for k in range(most))
