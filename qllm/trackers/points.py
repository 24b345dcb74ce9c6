"""The numbers that a training records, and the scalars that services show of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

EVALUATED = "eval_"
"""Before the name of a card's metric: its mean over the episodes of an evaluation."""

TRAINED = "train_"
"""Prefix of metrics from training episodes."""


class MetricPoint(NamedTuple):
    """One number of a training; a stored ``value`` is None where it was not finite."""

    env_steps: int
    wall_s: float
    name: str
    value: float | None


class EvaluationPoint(NamedTuple):
    """One stored evaluation: the undiscounted team return of every episode."""

    id: int
    env_steps: int
    wall_s: float
    returns: tuple[float, ...]


Point = MetricPoint | EvaluationPoint


class Scalar(NamedTuple):
    """One number under the name that services show: ``train/loss``, ``eval/return_mean``."""

    env_steps: int
    wall_s: float
    tag: str
    value: float
    """NaN where it was not finite."""


def scalars(points: Iterable[Point]) -> Iterator[Scalar]:
    """The scalars of points: metrics below ``train/`` or ``eval/``, and of an evaluation
    ``eval/return_mean``, the mean over its episodes."""
    for point in points:
        if isinstance(point, EvaluationPoint):
            tag, value = "eval/return_mean", math.fsum(point.returns) / len(point.returns)
        else:
            tag = f"train/{point.name.removeprefix(TRAINED)}"
            if point.name.startswith(EVALUATED):
                tag = f"eval/{point.name.removeprefix(EVALUATED)}"
            value = math.nan if point.value is None else point.value
        yield Scalar(
            point.env_steps, point.wall_s, tag, value if math.isfinite(value) else math.nan
        )
