"""Learning curves of trainings in the run store. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Sequence

from marl.statistics import learning_curve
from qllm.report.data import Curve
from qllm.store.schema import Run
from qllm.store.store import Store

_BAND_WORDS = (
    "Line: interquartile mean over seeds of the mean return of each greedy evaluation. Band: 95%"
    " bootstrap interval of it over seeds."
)
_LONE_SEED_WORDS = (
    "Line: mean return of each greedy evaluation. One seed has no interval over seeds."
)
_CUT_WORDS = " Curves end where the shortest of their seeds ends."


def curves_of(store: Store, trainings: Sequence[Run]) -> tuple[Curve, ...]:
    """The learning curves of trainings, one for each algorithm that has been evaluated."""
    by_algorithm: dict[str, list[Run]] = {}
    for run in trainings:
        by_algorithm.setdefault(str(run.algo), []).append(run)
    curves = [_curve(store, algo, runs) for algo, runs in by_algorithm.items()]
    return tuple(curve for curve in curves if curve is not None)


def _curve(store: Store, algo: str, runs: Sequence[Run]) -> Curve | None:
    # As in the table, seeds that have finished speak for the algorithm; the others only where
    # none has.
    finished = [run for run in runs if run.status == "finished"]
    evaluated = {
        run.seed: [(e.env_steps, e.returns) for e in store.training.evaluations(run.id)]
        for run in finished or runs
        if run.seed is not None
    }
    evaluated = {seed: points for seed, points in evaluated.items() if points}
    if not evaluated:
        return None
    # A point over fewer seeds than its neighbours would be a jump that means nothing.
    shortest = min(len(points) for points in evaluated.values())
    points = learning_curve([points[:shortest] for points in evaluated.values()])
    intervals = [point.ci for point in points if point.ci is not None]
    whole = len(intervals) == len(points)
    return Curve(
        algo=algo,
        steps=tuple(round(point.env_steps) for point in points),
        centre=tuple(point.iqm for point in points),
        low=tuple(low for low, _ in intervals) if whole else None,
        high=tuple(high for _, high in intervals) if whole else None,
        seeds=tuple(sorted(evaluated)),
        cut=any(len(points) > shortest for points in evaluated.values()),
    )


def curve_words(curves: Sequence[Curve]) -> str:
    """What line and band of drawn curves stand for."""
    words = _BAND_WORDS if any(c.low is not None for c in curves) else _LONE_SEED_WORDS
    return words + (_CUT_WORDS if any(c.cut for c in curves) else "")
