"""The one way from per-episode returns to the numbers in tables and plots.

Pure functions of floats. The unit is the environment's reward, summed undiscounted over an episode
and over the team. A seed's number is the mean over the episodes of an evaluation (PyMARL's
``test_return_mean``); an algorithm's numbers are the mean and the interquartile mean (IQM: the mean
of the middle half) over its seeds' numbers. An IQM over episodes is never taken: where one episode
in eight or fewer succeeds, it is 0 whatever the mean.

Means have Student's t interval, which covers what it claims with few seeds, too. IQMs have a
percentile bootstrap interval (Agarwal et al., 2021, "Deep reinforcement learning at the edge of the
statistical precipice"), which is too narrow below ten seeds; its resampling has its own seeded
generator, so that the same data always gives the same interval.

What an interval is over matters. One seed's row can only speak about the episodes of its last
evaluation (``return_ci_over="episodes"``): it says nothing about another seed. An algorithm's row
speaks about seeds (``"seeds"``), each of which counts once, and one seed has no such interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 2_000
_ROUNDING = 1e-9
"""Relative to the largest value: less than this is no variation."""
MOST_POINTS = 300
"""Of a learning curve: each has an interval that costs a bootstrap."""

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


def t_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval | None:
    """Student's t interval of the mean.

    Returns:
        (low, high), or None where the values do not vary: one value, or several that are equal,
        whose spread is unknown rather than zero.
    """
    from scipy.special import stdtrit  # a tenth of a second, which not every start should pay

    given = np.asarray(values, dtype=np.float64)
    if len(given) < 2 or np.ptp(given) <= _ROUNDING * np.abs(given).max():
        return None
    error = given.std(ddof=1) / np.sqrt(len(given))
    reach = float(stdtrit(len(given) - 1, (1 + confidence) / 2) * error)
    return float(given.mean()) - reach, float(given.mean()) + reach


@dataclass(frozen=True)
class Summary:
    """Returns of one seed, or of all seeds of one algorithm."""

    return_mean: float
    """Mean return at the last evaluation: of the episodes, or of the seeds' means."""
    return_iqm: float | None
    """Interquartile mean over seeds of the same; None for one seed's own row."""
    return_ci: Interval | None
    """95% bootstrap interval of ``return_iqm``; None where there is only one seed."""
    return_mean_ci: Interval | None
    """95% t interval of ``return_mean``, over what ``return_ci_over`` names."""
    return_ci_over: Literal["episodes", "seeds"]
    best_return_mean: float
    """Mean return at each seed's own best evaluation after step 0 (agents that have learned nothing
    can be lucky), averaged over seeds. Chosen by looking at the same returns, hence too high by
    chance: never compare it with a ``return_mean``."""
    return_auc: float
    """Area under the learning curve: a seed's mean over the evaluations after step 0, averaged over
    seeds."""
    count: int
    """Number of episodes or seeds behind the interval."""


def learned(evaluations: Sequence[Evaluation]) -> list[float]:
    """Mean returns of a seed's evaluations after step 0 (of the first, if it is all there is).

    Raises:
        ValueError: no evaluation, or one without episodes.
    """
    if not evaluations or not all(len(returns) for _, returns in evaluations):
        raise ValueError("a summary needs at least one evaluation, each with at least one episode")
    after = [returns for env_steps, returns in evaluations if env_steps > 0]
    return [float(mean(returns)) for returns in after or [evaluations[0][1]]]


def summarise_seed(evaluations: Sequence[Evaluation]) -> Summary:
    """One seed's row: the mean over the episodes of its last evaluation, and its interval.

    Args:
        evaluations: all evaluations in order, as (environment steps, returns of the episodes).
    """
    own, returns = learned(evaluations), evaluations[-1][1]
    return Summary(
        return_mean=float(mean(returns)),
        return_iqm=None,
        return_ci=None,
        return_mean_ci=t_interval(returns),
        return_ci_over="episodes",
        best_return_mean=max(own),
        return_auc=float(mean(own)),
        count=len(returns),
    )


def summarise(seeds: Sequence[Sequence[Evaluation]]) -> Summary:
    """An algorithm's row: mean, IQM and intervals over seeds; a seed's score is its mean return.

    Args:
        seeds: for each seed all its evaluations, as for `summarise_seed`.
    """
    if not seeds:
        raise ValueError("a summary needs at least one seed")
    own = [summarise_seed(evaluations) for evaluations in seeds]
    scores = [row.return_mean for row in own]
    return Summary(
        return_mean=float(mean(scores)),
        return_iqm=float(iqm(scores)),
        return_ci=bootstrap_interval([scores], iqm),
        return_mean_ci=t_interval(scores),
        return_ci_over="seeds",
        best_return_mean=float(mean([row.best_return_mean for row in own])),
        return_auc=float(mean([row.return_auc for row in own])),
        count=len(scores),
    )


@dataclass(frozen=True)
class Difference:
    """How much higher one algorithm's returns are than another's, seed by seed."""

    mean: float
    """Mean over the seeds that both have."""
    ci: Interval | None
    """95% t interval of it; None where the differences do not vary, as with one seed."""
    seeds: int
    """How many seeds both have."""

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.ci is not None and not self.ci[0] <= 0 <= self.ci[1]


def paired_difference(
    scores: Mapping[int, float], reference: Mapping[int, float]
) -> Difference | None:
    """The differences between two algorithms on the seeds that both were trained with.

    A seed fixes how the environment and the networks begin and the episodes of an evaluation, so
    the difference within a seed varies less than the returns do.

    Args:
        scores: by seed, the mean return of its last evaluation.
        reference: the same of what it is held against.

    Returns:
        None where they have no seed in common.
    """
    differences = [scores[s] - reference[s] for s in sorted(scores) if s in reference]
    if not differences:
        return None
    return Difference(float(mean(differences)), t_interval(differences), len(differences))


@lru_cache(maxsize=20_000)
def spread(scores: tuple[float, ...]) -> tuple[float, Interval | None]:
    """IQM over seeds and its bootstrap interval; remembered, since screens ask again and again."""
    return float(iqm(scores)), bootstrap_interval([scores], iqm)


@dataclass(frozen=True)
class CurvePoint:
    """A learning curve at one evaluation."""

    at: int
    """Number of the evaluation, from 0."""
    env_steps: float
    """Mean over the seeds, which differ where episodes differ in length."""
    mean: float
    iqm: float
    ci: Interval | None
    """95% bootstrap interval of ``iqm`` over seeds; None for one seed."""


def learning_curve(
    seeds: Sequence[Sequence[tuple[float, float]]], *, most: int = MOST_POINTS
) -> list[CurvePoint]:
    """The curve of an algorithm: the k-th point is the k-th evaluation of every seed.

    It ends where the shortest seed ends: a point over fewer seeds than its neighbours would be a
    jump that means nothing.

    Args:
        seeds: for each seed its evaluations, as (environment steps, mean return); those without
            any do not count.
        most: points, evenly spaced, the first and the last among them; at least 2.
    """
    there = [evaluations for evaluations in seeds if evaluations]
    length = min((len(evaluations) for evaluations in there), default=0)
    points = []
    for k in sorted(
        set(np.linspace(0, length - 1, min(most, length)).round().astype(int).tolist())
    ):
        scores = tuple(evaluations[k][1] for evaluations in there)
        centre, ci = spread(scores)
        env_steps = float(mean([evaluations[k][0] for evaluations in there]))
        points.append(CurvePoint(k, env_steps, float(mean(scores)), centre, ci))
    return points
