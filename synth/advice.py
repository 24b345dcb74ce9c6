"""Measurements put into words: why a function was selected, how it did, what to try next.

The words follow from the numbers by fixed rules, so that the same pilots always give the same
advice; a language model as evaluator writes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from synth.candidates import Candidate
from synth.pilot import ALIKE, PilotScore
from synth.pilot import alike as alike_returns

Scored = Sequence[tuple[Candidate, PilotScore]]
"""Candidates with their scores, best first, none of them failed."""

UNMEASURED = (
    "Nothing was measured. Keep the general plan and let the credit react to a situation of the "
    "task that the function above ignores."
)

_STALLED = 0.05
"""A curve has stalled where it came within this share of its whole rise and gained no more."""


def _number(x: float) -> str:
    return f"{x:.4g}"


def _final(score: PilotScore) -> float:
    return score.numbers()[0]


def _known(baseline: PilotScore | None) -> float | None:
    return None if baseline is None else baseline.final_iqm


def stalled_at(curve: Sequence[tuple[int, float]]) -> int | None:
    """The step after which a curve hardly rose any more; ``None`` while it still rises.

    A curve of fewer than three evaluations, or one that never rose above its start, has no such
    step either: it says too little, or there was no rise to stall.
    """
    if len(curve) < 3:
        return None
    start, best = curve[0][1], max(value for _, value in curve)
    if best <= start:
        return None
    near = best - _STALLED * (best - start)
    step = next(step for step, value in curve if value >= near)
    return step if step < curve[-1][0] else None


def kinds_in_words(scored: Scored) -> str:
    """Which kind of function did better, where more than one kind was tried."""
    kinds: dict[str, list[float]] = {}
    for candidate, score in scored:
        report = candidate.report
        if report.signature == "weights":
            kind = "in weights form"
        elif report.linear_in_q:
            kind = "in mixing form, linear in the agents' values"
        else:
            kind = "in mixing form, nonlinear in the agents' values"
        kinds.setdefault(kind, []).append(_final(score))
    if len(kinds) < 2:
        return ""
    ordered = sorted(kinds.items(), key=lambda item: (-fmean(item[1]), item[0]))
    parts = [f"{kind} {_number(fmean(values))} (of {len(values)})" for kind, values in ordered]
    return f"Average final return of functions {', '.join(parts)}."


def alike(scored: Scored) -> list[Candidate]:
    """The first of ``scored`` and those that measure like it: within a fiftieth of the scale."""
    values = [_final(score) for _, score in scored]
    scale = max((abs(v) for v in values), default=0.0)
    return [c for (c, _), v in zip(scored, values, strict=True) if values[0] - v <= ALIKE * scale]


def reason(
    scored: Scored,
    left_behind: Sequence[tuple[Candidate, PilotScore, int]],
    failed: Sequence[tuple[Candidate, str]],
    baseline: PilotScore | None,
) -> str:
    """Why the first of ``scored`` is selected.

    Args:
        scored: Trained for all steps, best first.
        left_behind: Dropped by the halving, with their scores and after how many steps.
        failed: Failed in training, and why.
        baseline: The plain sum's score, if it was measured.
    """
    best, score = scored[0]
    value, count = _final(score), len(scored)
    ties = [c.key for c, s in scored[1:] if _final(s) == value]
    if ties:
        text = (
            f"{best.key} shares the highest final return of {count} measured with "
            f"{', '.join(ties)}: {_number(value)}; the tie is broken by best return, then by the "
            "smaller graph, then by its hash"
        )
    else:
        text = f"{best.key} has the highest final return of {count} measured: {_number(value)}"
        if count > 1:
            second, other = scored[1]
            text += f"; next is {second.key} with {_number(_final(other))}"
    plain = _known(baseline)
    if plain is not None:
        text += f"; the plain sum (VDN) has {_number(plain)}"
        if alike_returns([plain, *(_final(s) for _, s in scored)]):
            text += ", too: these pilots do not tell any of them apart"
    for steps in sorted({steps for _, _, steps in left_behind}):
        those = [f"{c.key} {_number(_final(s))}" for c, s, at in left_behind if at == steps]
        text += f"; left behind after {steps:,} steps: {', '.join(those)}"
    if failed:
        text += "; failed in training: " + ", ".join(f"{c.key} ({error})" for c, error in failed)
    return text


def result(score: PilotScore, baseline: PilotScore | None, steps: int, seeds: int) -> str:
    """What was measured of the selected function, with its units.

    Averages are over the evaluations of what was trained: the one before the first step, where
    there is one, is told by itself.
    """
    final, mean, best = score.numbers()
    times = "once" if seeds == 1 else f"{seeds} times"
    of = f" of {score.episodes} episodes" if score.episodes else ""
    text = (
        f"Trained {times} for {steps:,} environment steps, it ended at a return of "
        f"{_number(final)} an episode (interquartile mean{of} in the last evaluation; their mean "
        f"is {_number(mean)})."
    )
    trained = [value for step, value in score.curve if step > 0]
    if len(trained) > 1:
        text += (
            f" Its {len(trained)} evaluations while it was trained had {_number(fmean(trained))}"
            f" on average, the best of them {_number(best)}."
        )
    else:
        text += f" Its best evaluation had a mean of {_number(best)}."
    if score.curve and score.curve[0][0] == 0:
        text += f" Untrained agents had {_number(score.curve[0][1])}."
    plain = _known(baseline)
    if plain is not None:
        text += f" The plain sum of the agents' values (VDN) ended at {_number(plain)}."
    stall = stalled_at(score.curve)
    if stall is not None:
        text += f" Its curve hardly rose after step {stall:,}."
    elif len(score.curve) >= 3 and score.curve[-1][1] > score.curve[0][1]:
        text += " Its curve was still rising at the end."
    elif len(score.curve) >= 3:
        untrained = score.curve[0][0] == 0
        text += f" It ended no better than {'untrained agents' if untrained else 'it began'}."
    return text


def next_step(scored: Scored, baseline: PilotScore | None) -> str:
    """One piece of advice for the next round, from what was measured."""
    best = scored[0][1]
    values = [_final(score) for _, score in scored]
    plain = _known(baseline)
    scale = max(abs(v) for v in values)
    kinds = kinds_in_words(scored)
    if plain is not None and values[0] < plain - ALIKE * max(scale, abs(plain)):
        step = (
            "It falls short of the plain sum: keep every agent's credit nearer to 1 and let the "
            "state shift it less, and less abruptly."
        )
    elif len(values) > 1 and alike_returns(values):
        step = (
            "The functions tried so far hardly differ in what they achieve: let the credit depend "
            "on the state more strongly, or on a part of the state that none of them used."
        )
    elif stalled_at(best.curve) is not None:
        step = (
            "Keep its main idea and add one term for the situation in which the team stays stuck, "
            "giving more credit there to the agent whose change of behaviour would help."
        )
    else:
        step = "Keep its main idea and refine one term: a sharper threshold or another strength."
    return f"{step} {kinds}".strip()
