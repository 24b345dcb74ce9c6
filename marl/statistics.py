"""The one way from per-episode returns to the numbers in tables and plots.

Pure functions of floats. The unit is the environment's reward, summed undiscounted over an episode
and over the team. Means and interquartile means (IQM: the mean of the middle half) come with
percentile bootstrap intervals, whose resampling has its own seeded generator, so that the same data
always gives the same interval. Source of the choice: Agarwal et al. (2021), "Deep reinforcement
learning at the edge of the statistical precipice".

What an interval is over matters. One seed's row can only speak about the episodes of its last
evaluation (``return_ci_over="episodes"``): it says nothing about another seed. An algorithm's row
speaks about seeds (``"seeds"``), each of which counts once, and one seed has no such interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2_000

Interval = tuple[float, float]
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Reduces the last axis."""

Evaluation = tuple[int, Sequence[float]]
"""One evaluation: the environment steps trained before it, and the returns of its episodes."""


def mean(values: ArrayLike) -> NDArray[np.float64]:
    """Mean over the last axis."""
    return np.asarray(values, dtype=np.float64).mean(-1)


def iqm(values: ArrayLike) -> NDArray[np.float64]:
    """Interquartile mean over the last axis: the mean without the lowest and highest quarter.

    As ``scipy.stats.trim_mean(values, 0.25, axis=-1)``: floor(n / 4) values are dropped at each
    end, so that up to three values it is the mean.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), -1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(-1)


def bootstrap_interval(
    groups: Sequence[Sequence[float]],
    statistic: Statistic = iqm,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval | None:
    """Stratified percentile bootstrap interval of a statistic of all values together.

    Args:
        groups: values by stratum (a task, for scores over several tasks; for one task give one
            group). Values are redrawn with replacement within their own group only.
        statistic: reduces the last axis.
        confidence: share of the bootstrap distribution inside the interval.
        resamples: number of redrawn data sets.
        seed: of the redrawing.

    Returns:
        (low, high), or None where no group has two values: nothing could vary.
    """
    if all(len(group) < 2 for group in groups):
        return None
    generator = np.random.default_rng(seed)
    drawn = []
    for group in groups:
        values = np.asarray(group, dtype=np.float64)
        drawn.append(values[generator.integers(len(values), size=(resamples, len(values)))])
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(np.concatenate(drawn, -1)), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Summary:
    """Returns of one seed, or of all seeds of one algorithm."""

    return_mean: float
    """Mean return at the last evaluation."""
    return_iqm: float
    """Interquartile mean at the last evaluation, over what ``return_ci_over`` names."""
    return_ci: Interval | None
    """95% bootstrap interval of ``return_iqm``; None where there is only one value."""
    return_mean_ci: Interval | None
    """95% bootstrap interval of ``return_mean``."""
    return_ci_over: Literal["episodes", "seeds"]
    best_return_mean: float
    """Mean return at each seed's own best evaluation after step 0 (agents that have learned nothing
    can be lucky), averaged over seeds. Chosen by looking at the same returns, hence too high by
    chance: never compare it with a ``return_mean``."""
    count: int
    """Number of episodes or seeds behind the interval."""


def _summary(
    scores: Sequence[float], best: float, over: Literal["episodes", "seeds"], seed: int
) -> Summary:
    return Summary(
        return_mean=float(mean(scores)),
        return_iqm=float(iqm(scores)),
        return_ci=bootstrap_interval([scores], iqm, seed=seed),
        return_mean_ci=bootstrap_interval([scores], mean, seed=seed),
        return_ci_over=over,
        best_return_mean=best,
        count=len(scores),
    )


def best_mean(evaluations: Sequence[Evaluation]) -> float:
    """Mean return of a seed's best evaluation after step 0 (of that one, if it is all there is).

    Raises:
        ValueError: no evaluation, or one without episodes.
    """
    if not evaluations or not all(len(returns) for _, returns in evaluations):
        raise ValueError("a summary needs at least one evaluation, each with at least one episode")
    learned = [returns for env_steps, returns in evaluations if env_steps > 0]
    return max(float(mean(returns)) for returns in learned or [evaluations[0][1]])


def summarise_seed(evaluations: Sequence[Evaluation], *, seed: int = 0) -> Summary:
    """One seed's row: mean, IQM and interval over the episodes of its last evaluation.

    Args:
        evaluations: all evaluations in order, as (environment steps, returns of the episodes).
        seed: of the bootstrap.
    """
    best = best_mean(evaluations)
    return _summary(evaluations[-1][1], best, "episodes", seed)


def summarise(seeds: Sequence[Sequence[Evaluation]], *, seed: int = 0) -> Summary:
    """An algorithm's row: mean, IQM and interval over seeds; a seed's score is its mean return.

    Args:
        seeds: for each seed all its evaluations, as for `summarise_seed`.
        seed: of the bootstrap.
    """
    if not seeds:
        raise ValueError("a summary needs at least one seed")
    best = [best_mean(evaluations) for evaluations in seeds]
    scores = [float(mean(evaluations[-1][1])) for evaluations in seeds]
    return _summary(scores, float(mean(best)), "seeds", seed)


@dataclass(frozen=True)
class Difference:
    """How much higher one algorithm's returns are than another's, seed by seed."""

    mean: float
    """Mean over the seeds that both have."""
    iqm: float
    """Interquartile mean over them."""
    ci: Interval | None
    """95% bootstrap interval of ``iqm`` over seeds; None for one seed."""
    mean_ci: Interval | None
    """95% bootstrap interval of ``mean`` over seeds; None for one seed."""
    seeds: int
    """How many seeds both have."""


def paired_difference(
    scores: Mapping[int, float], reference: Mapping[int, float], *, seed: int = 0
) -> Difference | None:
    """The differences between two algorithms on the seeds that both were trained with.

    A seed fixes how the environment and the networks begin, so the difference within a seed varies
    less than the returns do.

    Args:
        scores: by seed, the mean return of its last evaluation.
        reference: the same of what it is held against.
        seed: of the bootstrap.

    Returns:
        None where they have no seed in common.
    """
    differences = [scores[s] - reference[s] for s in sorted(scores) if s in reference]
    if not differences:
        return None
    return Difference(
        mean=float(mean(differences)),
        iqm=float(iqm(differences)),
        ci=bootstrap_interval([differences], iqm, seed=seed),
        mean_ci=bootstrap_interval([differences], mean, seed=seed),
        seeds=len(differences),
    )


@dataclass(frozen=True)
class CurvePoint:
    """A learning curve at one evaluation."""

    env_steps: float
    """Mean over the seeds, which differ where episodes differ in length."""
    mean: float
    iqm: float
    ci: Interval | None
    """95% bootstrap interval of ``iqm`` over seeds; None for one seed."""
    mean_ci: Interval | None
    """95% bootstrap interval of ``mean`` over seeds; None for one seed."""
    seeds: int


def learning_curve(seeds: Sequence[Sequence[Evaluation]], *, seed: int = 0) -> list[CurvePoint]:
    """The curve of an algorithm: the k-th point is the k-th evaluation of every seed that has one.

    Args:
        seeds: for each seed all its evaluations, as for `summarise_seed`.
        seed: of the bootstrap.
    """
    points = []
    for k in range(max((len(evaluations) for evaluations in seeds), default=0)):
        there = [evaluations[k] for evaluations in seeds if len(evaluations) > k]
        scores = [float(mean(returns)) for _, returns in there]
        points.append(
            CurvePoint(
                env_steps=float(mean([steps for steps, _ in there])),
                mean=float(mean(scores)),
                iqm=float(iqm(scores)),
                ci=bootstrap_interval([scores], iqm, seed=seed),
                mean_ci=bootstrap_interval([scores], mean, seed=seed),
                seeds=len(there),
            )
        )
    return points
