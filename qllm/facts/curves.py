"""Learning curves of trainings in the run store. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeVar

from marl.statistics import learning_curve
from qllm.store.schema import Run
from qllm.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Curve:
    """Learning curve of one algorithm; ``centre``, ``low`` and ``high`` go with ``steps``."""

    algo: str
    steps: tuple[int, ...]
    """Environment steps of the evaluations that every seed has."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds of each evaluation's mean team return."""
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    """Ends of the interval over seeds; None with a single seed."""
    seeds: tuple[int, ...]
    cut: bool = False
    """Whether some seed went on after the last step."""
    at: tuple[int, ...] = ()
    """Numbers of the evaluations, from 0; a long curve is thinned."""
    quantity: str = ""
    """Name of the card's metric; empty for the team return."""


_BAND_WORDS = (
    "Line: IQM (interquartile mean) over seeds of the mean return of each greedy evaluation. Band:"
    " 95% bootstrap interval of it over seeds."
)
_LONE_SEED_WORDS = (
    "Line: mean return of each greedy evaluation. One seed has no interval over seeds."
)
_CUT_WORDS = " Curves end where the shortest of their seeds ends."


def curves_of(store: Store, trainings: Sequence[Run]) -> tuple[Curve, ...]:
    """The learning curves of trainings, one for each algorithm that has been evaluated."""
    return _curves(
        trainings,
        lambda run: [(e.env_steps, fmean(e.returns)) for e in store.training.evaluations(run.id)],
    )


def metric_curves_of(store: Store, trainings: Sequence[Run]) -> tuple[tuple[Curve, ...], ...]:
    """Those of the card's metrics, a group for each, in the order of their names."""
    points = {run.id: store.training.evaluated(run.id) for run in trainings}
    groups = []
    for name in sorted({name for of_run in points.values() for name in of_run}):
        having = [run for run in trainings if name in points[run.id]]
        group = _curves(having, lambda run, name=name: points[run.id][name])  # type: ignore[misc]
        groups.append(tuple(replace(curve, quantity=name) for curve in group))
    return tuple(group for group in groups if group)


def _curves(
    trainings: Sequence[Run], points: Callable[[Run], Sequence[tuple[float, float]]]
) -> tuple[Curve, ...]:
    by_algorithm: dict[str, list[Run]] = {}
    for run in trainings:
        by_algorithm.setdefault(str(run.algo), []).append(run)
    curves = []
    for algo, runs in by_algorithm.items():
        shown = counted(runs, lambda run: run.status == "finished")
        curves.append(curve_of(algo, {r.seed: points(r) for r in shown if r.seed is not None}))
    return tuple(curve for curve in curves if curve is not None)


def counted(trainings: Sequence[T], finished: Callable[[T], bool]) -> Sequence[T]:
    """The trainings that count, as in the table: the finished ones, or all until one has
    finished."""
    return [training for training in trainings if finished(training)] or trainings


def curve_of(algo: str, evaluated: Mapping[int, Sequence[tuple[float, float]]]) -> Curve | None:
    """An algorithm's curve, the same in the report, in ``curves.png`` and in the terminal app.

    Args:
        evaluated: by seed its evaluations, as (environment steps, mean return).
    """
    there = {seed: points for seed, points in evaluated.items() if points}
    if not there:
        return None
    points = learning_curve(list(there.values()))
    intervals = [point.ci for point in points if point.ci is not None]
    whole = len(intervals) == len(points)
    shortest = min(len(points) for points in there.values())
    return Curve(
        algo=algo,
        steps=tuple(round(point.env_steps) for point in points),
        centre=tuple(point.iqm for point in points),
        low=tuple(low for low, _ in intervals) if whole else None,
        high=tuple(high for _, high in intervals) if whole else None,
        seeds=tuple(sorted(there)),
        cut=any(len(points) > shortest for points in there.values()),
        at=tuple(point.at for point in points),
    )


def curve_words(curves: Sequence[Curve]) -> str:
    """Meaning of the line and band of drawn curves."""
    words = _BAND_WORDS if any(c.low is not None for c in curves) else _LONE_SEED_WORDS
    return words + (_CUT_WORDS if any(c.cut for c in curves) else "")
