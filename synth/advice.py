"""Measurements put into words: why a function was selected, how it did, what to try next.

The words follow from the numbers by fixed rules, so that the same pilots always give the same
advice; a language model as evaluator writes its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from synth.candidates import Candidate
from synth.pilot import PilotScore
from synth.ranking import NAMES, Gap

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
    """The kind of function that did better, where more than one kind was tried."""
    kinds: dict[str, list[float]] = {}
    for candidate, score in scored:
        report = candidate.report
        if report.signature == "weights":
            kind = "in weights form"
        elif report.linear_in_q:
            kind = "in mixing form, linear in the agents' values"
        else:
            kind = "in mixing form, nonlinear in the agents' values"
        kinds.setdefault(kind, []).append(score.final_mean)
    if len(kinds) < 2:
        return ""
    ordered = sorted(kinds.items(), key=lambda item: (-fmean(item[1]), item[0]))
    parts = [f"{kind} {_number(fmean(values))} (of {len(values)})" for kind, values in ordered]
    return f"Average final return of functions {', '.join(parts)}."


def reason(
    scored: Scored,
    gaps: Sequence[Gap],
    plain: Gap | None,
    unmatched: Sequence[str],
    left_behind: Sequence[tuple[Candidate, PilotScore, int]],
    failed: Sequence[tuple[Candidate, str]],
) -> str:
    """Why the first of ``scored`` is taken, and whether the pilots tell it from the others.

    Args:
        scored: Trained for all steps, best first.
        gaps: The first against every other function measured in the search, the nearest first.
        plain: The first against the plain sum, if that was measured.
        unmatched: Functions without a training as long as one of the first's.
        left_behind: Dropped by the halving, with their scores and after how many steps.
        failed: Failed in training, and why.
    """
    best, score = scored[0]
    value = f"mean return {_number(score.final_mean)}"
    apart = [g for g in gaps if not g.clear]
    if not gaps:
        text = f"undecided: {best.key} is the only function measured ({value})"
    elif apart:
        nearest, more = apart[0], len(apart) - 1
        text = (
            f"undecided: the pilots do not tell {best.key} ({value}) from {nearest.other} "
            f"(difference {nearest.in_words()})" + (f" and {more} more" if more else "")
        )
        if len(scored) > 1:
            text += f"; {best.key} is taken for {_ahead(scored)}"
    elif unmatched:
        text = (
            f"undecided: {best.key} ({value}) is above what was trained as long, and was never "
            f"held against {', '.join(unmatched)}"
        )
    else:
        text = f"{best.key} has the highest {NAMES[gaps[0].measure]} of {len(gaps) + 1}: {value}"
        text += f"; above {gaps[0].other}, the nearest, by {gaps[0].in_words()}"
    if plain is not None:
        text += f"; against the plain sum (VDN) {plain.in_words()}"
    for steps in sorted({steps for _, _, steps in left_behind}):
        those = [f"{c.key} {_number(s.final_mean)}" for c, s, at in left_behind if at == steps]
        text += f"; left behind after {steps:,} steps: {', '.join(those)}"
    if failed:
        text += "; failed in training: " + ", ".join(f"{c.key} ({error})" for c, error in failed)
    return text


def _ahead(scored: Scored) -> str:
    """The reason why the first ranks before the second."""
    (_, one), (_, two) = scored[:2]
    if one.final_mean > two.final_mean:
        return "the highest mean return"
    if one.area_mean > two.area_mean:
        return "the largest area under the curve"
    return "the smaller graph, or else the order of the graphs' hashes"


def result(score: PilotScore, baseline: PilotScore | None, steps: int) -> str:
    """Measurements of the selected function, with their units.

    Averages are over the evaluations of what was trained: the one before the first step, where
    there is one, is told by itself.
    """
    times = "once" if len(score.finals) == 1 else f"{len(score.finals)} times"
    updates = f" ({score.updates:,} updates)" if score.updates else ""
    of = f" of {score.episodes} episodes" if score.episodes else ""
    text = (
        f"Trained {times} for {steps:,} environment steps{updates}, it ended at a return of "
        f"{_number(score.final_mean)} an episode (mean over the trainings{of} in the last "
        "evaluation)."
    )
    trained = [value for step, value in score.curve if step > 0]
    if len(trained) > 1:
        text += (
            f" Its {len(trained)} evaluations while it was trained had {_number(fmean(trained))}"
            f" on average, the best of them {_number(max(trained))}."
        )
    if score.curve and score.curve[0][0] == 0:
        text += f" Untrained agents had {_number(score.curve[0][1])}."
    if baseline is not None and not baseline.error:
        plain = _number(baseline.final_mean)
        text += f" The plain sum of the agents' values (VDN) ended at {plain}."
    stall = stalled_at(score.curve)
    if stall is not None:
        text += f" Its curve hardly rose after step {stall:,}."
    elif len(score.curve) >= 3 and score.curve[-1][1] > score.curve[0][1]:
        text += " Its curve was still rising at the end."
    elif len(score.curve) >= 3:
        untrained = score.curve[0][0] == 0
        text += f" It ended no better than {'untrained agents' if untrained else 'it began'}."
    return text


def next_step(scored: Scored, short: bool, decided: bool) -> str:
    """One piece of advice for the next round, from what was measured.

    Args:
        scored: Trained for all steps, best first.
        short: Whether the best is clearly below the plain sum.
        decided: Whether the pilots tell the best from every other function.
    """
    best, kinds = scored[0][1], kinds_in_words(scored)
    if short:
        step = (
            "It falls short of the plain sum: keep every agent's credit nearer to 1 and let the "
            "state shift it less, and less abruptly."
        )
    elif len(scored) > 1 and not decided:
        step = (
            "The measurements do not tell the functions tried so far apart: let the credit depend "
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
