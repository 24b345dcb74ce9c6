"""Statistics against scipy, brute force and known values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from marl.statistics import (
    bootstrap_interval,
    iqm,
    learning_curve,
    mean,
    paired_difference,
    summarise,
    summarise_seed,
    t_interval,
)


def test_iqm_of_one_to_eight_is_four_and_a_half() -> None:
    assert iqm(range(1, 9)) == 4.5


def test_iqm_ignores_the_outer_quarters() -> None:
    assert iqm([-1e9, 3, 4, 1e9]) == 3.5
    assert iqm([1, 2, 9]) == 4


@pytest.mark.parametrize("count", range(1, 14))
def test_iqm_equals_scipys_trimmed_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=(5, count))
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25, axis=-1))


def test_the_interval_is_near_the_exact_bootstrap_distribution() -> None:
    """All 5^5 equally likely resamples, enumerated."""
    values = [3.0, 1.0, 7.0, 4.0, 10.0]
    every = mean(list(itertools.product(values, repeat=5)))
    exact = np.quantile(every, [0.05, 0.95])
    found = bootstrap_interval([values], mean, confidence=0.9, resamples=50_000)
    assert found == pytest.approx(tuple(exact), abs=0.1)


def test_the_interval_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    found = bootstrap_interval([list(values)], iqm, resamples=20_000)
    reference = stats.bootstrap(
        (values,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found == pytest.approx((reference.low, reference.high), abs=0.02)


def test_values_are_redrawn_within_their_own_task() -> None:
    """Tasks that do not vary leave nothing to chance, however far apart they are."""
    assert bootstrap_interval([[1.0, 1.0], [100.0, 100.0]], mean) == (50.5, 50.5)
    low, high = bootstrap_interval([[1.0, 1.0, 100.0, 100.0]], mean) or (0, 0)
    assert high - low > 50


def test_the_interval_is_reproducible_and_depends_on_its_seed() -> None:
    values = [np.random.default_rng(0).normal(size=20).tolist()]
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, resamples=50, seed=1) != bootstrap_interval(
        values, resamples=50, seed=2
    )


def test_one_value_has_no_interval() -> None:
    assert bootstrap_interval([[3.0]]) is None
    assert bootstrap_interval([[3.0], [4.0]]) is None


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_the_t_interval_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    found = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((found.low, found.high))


def test_the_t_interval_covers_what_it_claims_with_three_values() -> None:
    """The percentile bootstrap covers 76% there."""
    draws = np.random.default_rng(0).normal(size=(4_000, 3)).tolist()
    ends = [t_interval(draw) or (0.0, 0.0) for draw in draws]
    assert np.mean([low <= 0 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.01)


def test_values_that_do_not_vary_have_no_t_interval() -> None:
    assert t_interval([3.0]) is None
    assert t_interval([3.0, 3.0, 3.0]) is None
    assert t_interval([0.3 - 0.1, 0.2, 0.4 - 0.2]) is None, "but for rounding"


def test_a_seeds_number_is_the_mean_of_its_episodes_and_never_an_iqm_of_them() -> None:
    row = summarise_seed([(50, [9, 9, 9]), (100, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])])
    assert row.return_mean == 0.125
    assert (row.return_iqm, row.return_ci) == (None, None)
    assert row.best_return_mean == 9
    assert row.return_auc == pytest.approx((9 + 0.125) / 2)
    assert (row.return_ci_over, row.count) == ("episodes", 8)
    assert row.return_mean_ci == t_interval([0.0] * 7 + [1.0])


def test_an_algorithms_row_is_about_its_seeds() -> None:
    returns = [[[0, 0], [10, 20]], [[30, 30], [5, 5]], [[1, 1], [7, 9]], [[0, 0], [100, 100]]]
    row = summarise([[(50, first), (100, last)] for first, last in returns])
    scores = [15.0, 5.0, 8.0, 100.0]
    assert row.return_mean == 32
    assert row.return_iqm == 11.5
    assert row.best_return_mean == pytest.approx((15 + 30 + 8 + 100) / 4)
    assert row.return_auc == pytest.approx((7.5 + 17.5 + 4.5 + 50) / 4)
    assert row.return_ci == bootstrap_interval([scores], iqm)
    assert row.return_mean_ci == t_interval(scores)
    assert (row.return_ci_over, row.count) == ("seeds", 4)


def test_one_seed_has_no_interval_over_seeds() -> None:
    row = summarise([[(100, [1, 2, 3])]])
    assert row.return_mean == 2
    assert row.return_ci is None
    assert row.return_mean_ci is None
    assert row.return_ci_over == "seeds"


def test_the_luck_of_untrained_agents_is_nobodys_best() -> None:
    assert summarise_seed([(0, [275]), (100, [125]), (200, [100])]).best_return_mean == 125
    assert summarise([[(0, [275]), (100, [125])], [(0, [0]), (100, [1])]]).best_return_mean == 63
    assert summarise_seed([(0, [275])]).best_return_mean == 275


@pytest.mark.parametrize("nothing", [[], [(0, [])]])
def test_nothing_to_summarise_is_an_error(nothing: list[tuple[int, list[float]]]) -> None:
    with pytest.raises(ValueError, match="at least one evaluation"):
        summarise_seed(nothing)
    with pytest.raises(ValueError, match="at least one"):
        summarise([])


def test_a_curve_ends_where_its_shortest_seed_ends() -> None:
    points = learning_curve([[(0, 2), (100, 5)], [(0, 4), (110, 9), (220, 9)], []])
    assert [(p.at, p.env_steps, p.mean, p.iqm) for p in points] == [(0, 0, 3, 3), (1, 105, 7, 7)]
    assert points[1].ci == bootstrap_interval([[5.0, 9.0]], iqm)
    assert learning_curve([]) == []
    assert learning_curve([[(0, 1)]])[0].ci is None


def test_a_long_curve_is_thinned_evenly_and_keeps_its_ends() -> None:
    points = learning_curve([[(10 * k, k) for k in range(1_000)]], most=4)
    assert [p.at for p in points] == [0, 333, 666, 999]


def test_a_difference_is_taken_within_each_seed_that_both_have() -> None:
    mine, theirs = {0: 10.0, 1: 20.0, 2: 33.0, 7: 1.0}, {0: 8.0, 1: 17.0, 2: 29.0, 9: 500.0}
    found = paired_difference(mine, theirs)
    assert found is not None
    assert (found.mean, found.seeds) == (3, 3)
    assert found.ci == t_interval([2.0, 3.0, 4.0])
    assert found.told_apart
    back = paired_difference(theirs, mine)
    assert back is not None
    assert back.mean == -3


def test_a_difference_of_one_seed_has_no_interval_and_of_none_is_none() -> None:
    found = paired_difference({3: 2.0}, {3: 1.0, 4: 5.0})
    assert found is not None
    assert (found.mean, found.ci, found.told_apart) == (1, None, False)
    assert paired_difference({1: 2.0}, {2: 1.0}) is None
