"""Paired differences of a run's algorithms, the same for the terminal's table and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from marl.statistics import Difference, paired_difference
from qllm.units import interval, number, plural

BASELINE = "vdn"
"""The reference of comparisons: the plain sum of the agents' values."""

NO_INTERVAL = (
    "without an interval, as one seed or equal differences leave it, that says little; more seeds"
    " (--seeds 0,1,2,3,4) would tell."
)


def reference_of(algorithms: Sequence[str]) -> str:
    """The reference among a run's algorithms: the plain sum, or else the first."""
    return BASELINE if BASELINE in algorithms else algorithms[0]


def scores_by_algorithm(
    rows: Iterable[tuple[str, int | None, float | None, str]],
) -> dict[str, dict[int, float]]:
    """By algorithm and finished seed the mean return of the last evaluation.

    Args:
        rows: (algorithm, seed, mean return, status) of each row of a result table.
    """
    scores: dict[str, dict[int, float]] = {}
    for algo, seed, value, status in rows:
        own = scores.setdefault(algo, {})
        if seed is not None and value is not None and status == "finished":
            own[seed] = value
    return scores


def differences(
    scores: Mapping[str, Mapping[int, float]],
) -> tuple[str, list[tuple[str, Difference]]]:
    """The reference, and every other algorithm with its difference where seeds are shared."""
    if not scores:
        return "", []
    reference = reference_of(list(scores))
    found = [
        (algo, difference)
        for algo, own in scores.items()
        if algo != reference
        and (difference := paired_difference(own, scores[reference])) is not None
    ]
    return reference, found


def difference_words(one: str, other: str, found: Difference) -> str:
    """A difference with its interval and interpretation, in a sentence."""
    seeds = plural(found.seeds, "seed")
    start = f"With the same seed, {one} minus {other} is {number(found.mean)}"
    if found.ci is None:
        return f"{start} on {seeds}: {NO_INTERVAL}"
    verdict = "these seeds do not tell the two apart"
    if found.told_apart:
        verdict = f"{one} is {'higher' if found.mean > 0 else 'lower'} here"
    return f"{start} {interval(found.ci)} on {seeds}: {verdict}."
