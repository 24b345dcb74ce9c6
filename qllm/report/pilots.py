"""The pilot trainings of a search as a report shows them: a row for each function.

Successive halving trains a function several times, each time from scratch and longer; what counts
is its longest training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marl.statistics import Difference, paired_difference
from qllm.report.data import PilotCurve, PilotFacts
from qllm.store.schema import Verdict
from synth.pilot import BASELINE_KEY, is_relaxed

MOST_CURVES = 8
"""In one drawing; more could not be told apart."""


def pilot_facts(
    verdicts: Sequence[Verdict],
    labels: Mapping[int, str],
    selected: int | None,
    selected_hash: str | None,
) -> tuple[tuple[PilotFacts, ...], tuple[PilotCurve, ...]]:
    """One row for each function, the longest trained first and of those the best; and curves.

    Args:
        verdicts: of a search, of which those of pilots count.
        labels: what candidates are called, by their id.
        selected: id of the selected candidate.
        selected_hash: graph hash of the selected function.

    Returns:
        The rows, and the curves of the best of those that were trained longest, with the baseline's
        and the selected one's, in the order of the rows.
    """
    by_function: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind == "pilot":
            score = verdict.reason
            baseline = score.get("graph_hash") is None
            function = () if baseline else (verdict.candidate_id, verdict.key.partition("@")[0])
            by_function.setdefault((*function, _relaxed(score)), []).append(verdict)
    most = max((_steps(v.reason) for of in by_function.values() for v in of), default=0)
    chosen = [
        v for v in verdicts if v.kind == "pilot" and v.reason.get("graph_hash") == selected_hash
    ]
    rows: list[tuple[PilotFacts, PilotCurve]] = []
    for trainings in by_function.values():
        longest = max(trainings, key=lambda v: _steps(v.reason))
        score = longest.reason
        baseline = score.get("graph_hash") is None
        name = BASELINE_KEY if baseline else labels.get(longest.candidate_id or 0, longest.key)
        name += ", gate relaxed" if _relaxed(score) else ""
        whole = _steps(score) == most
        facts = PilotFacts(
            label=name,
            final_mean=score.get("final_mean"),
            area_mean=score.get("area_mean") if whole else None,
            env_steps=sum(int(v.reason.get("env_steps") or 0) for v in trainings),
            error=str(score.get("error") or ""),
            baseline=baseline,
            selected=not baseline
            and whole
            and longest.candidate_id == selected
            and score.get("graph_hash") == selected_hash,
            steps=_steps(score) or None,
            dropped=not whole,
            updates=score.get("updates") or None,
            difference=_difference(chosen, trainings),
        )
        points = tuple((int(steps), float(value)) for steps, value in score.get("curve") or ())
        rows.append((facts, PilotCurve(name, points)))
    rows.sort(key=lambda row: _order(row[0]))
    return tuple(facts for facts, _ in rows), _drawn(rows)


def _difference(chosen: Sequence[Verdict], others: Sequence[Verdict]) -> Difference | None:
    """The selected function minus another, by seed, over the longest trainings that both had."""
    mine = {_steps(v.reason): v for v in chosen}
    for other in sorted(others, key=lambda v: -_steps(v.reason)):
        one = mine.get(_steps(other.reason))
        if one is not None and one.reason.get("graph_hash") != other.reason.get("graph_hash"):
            found = paired_difference(_finals(one.reason), _finals(other.reason))
            if found is not None:
                return found
    return None


def _finals(score: Mapping[str, Any]) -> dict[int, float]:
    """By seed; empty for a failed pilot, and for one from before single seeds were recorded."""
    return dict(zip(score.get("seeds") or (), score.get("finals") or (), strict=False))


def _drawn(rows: Sequence[tuple[PilotFacts, PilotCurve]]) -> tuple[PilotCurve, ...]:
    whole = [(facts, curve) for facts, curve in rows if not facts.dropped and curve.points]
    always = sum(facts.baseline or facts.selected for facts, _ in whole)
    room = max(0, MOST_CURVES - always)
    drawn = []
    for facts, curve in whole:
        if not (facts.baseline or facts.selected):
            if not room:
                continue
            room -= 1
        drawn.append(curve)
    return tuple(drawn)


def _order(facts: PilotFacts) -> tuple[bool, int, float, bool]:
    """The longest trained first, of those the best return, the selected one before its equals."""
    score = facts.final_mean if facts.final_mean is not None else float("-inf")
    return (bool(facts.error), -(facts.steps or 0), -score, not facts.selected)


def _steps(score: Mapping[str, Any]) -> int:
    return int(score.get("steps") or 0)


def _relaxed(score: Mapping[str, Any]) -> bool:
    return is_relaxed(score.get("key"))
