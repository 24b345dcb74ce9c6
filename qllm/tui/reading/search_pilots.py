"""Pilot trainings of a search: which functions are at work, what they came to, what that tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qllm.jobs.synthesis_bridge import labelled
from qllm.tui.reading.search_rows import CandidateRow, Judgement
from qllm.tui.reading.search_view import Piloting, PilotRow, Score, Standing
from synth.pilot import BASELINE_KEY, alike, candidate_key, is_relaxed


def pilot_row(v: Judgement, labels: Mapping[int, str]) -> PilotRow:
    """A score of the store as a record."""
    name = BASELINE_KEY if _is_baseline(v) else labels.get(v.candidate_id or 0, v.key[:8])
    if is_relaxed(v.reason.get("key")):
        name += ", gate relaxed"
    return PilotRow(
        round=v.round,
        name=name,
        steps=_steps(v),
        seeds=len(v.reason.get("seeds") or ()),
        final=v.score,
        best=v.reason.get("best_mean"),
        error=str(v.reason.get("error") or ""),
        baseline=_is_baseline(v),
    )


def scores(candidates: Sequence[CandidateRow], judged: Sequence[Judgement]) -> dict[int, Score]:
    """The longest pilot trainings of every candidate's function, by the candidate's number."""
    pilots = [v for v in judged if v.kind == "pilot" and not _is_baseline(v)]
    most = max(map(_steps, pilots), default=0)
    longest: dict[str, Score] = {}
    for v in sorted(pilots, key=_steps):
        error = str(v.reason.get("error") or "")
        longest[v.reason["graph_hash"]] = Score(v.score, _steps(v), _steps(v) == most, error)
    return {c.id: longest[c.graph_hash] for c in candidates if c.graph_hash in longest}


def standing(
    candidates: Sequence[CandidateRow],
    known: Mapping[int, Score],
    judged: Sequence[Judgement],
) -> Standing | None:
    """How the functions that were trained for all steps stand to each other.

    Returns:
        ``None`` where fewer than two were measured, the plain sum among them.
    """
    whole = {
        c.id: known[c.id]
        for c in candidates
        if c.verdict == "accepted" and c.id in known and known[c.id].whole
    }
    returns = {i: s.value for i, s in whole.items() if s.value is not None and not s.error}
    steps = next((s.steps for s in whole.values()), 0)
    plain = next(
        (v.score for v in judged if v.kind == "pilot" and _is_baseline(v) and _steps(v) == steps),
        None,
    )
    every = [*returns.values(), *([plain] if plain is not None else [])]
    if not returns or len(every) < 2:
        return None
    best = max(returns.values())
    first = tuple(i for i, value in returns.items() if value == best)
    with_baseline = plain == best
    return Standing(
        best=best,
        tied=first if len(first) > 1 or with_baseline else (),
        with_baseline=with_baseline,
        separated=not alike(every),
        measured=len(returns),
    )


def piloting(judged: Sequence[Judgement], attempt: int) -> Piloting | None:
    """What is being measured at this moment, as far as this attempt of the job has told."""
    found = next((v for v in judged if v.kind == "piloting" and v.attempt == attempt), None)
    if found is None:
        return None
    keys, at = list(found.reason.get("keys") or ()), int(found.reason.get("at") or 0)
    seeds, steps = int(found.reason.get("seeds") or 0), int(found.reason.get("steps") or 0)
    names = tuple(labelled(candidate_key(str(key))) for key in keys)
    scored = {(str(v.reason.get("key")), _steps(v)) for v in judged if v.kind == "pilot"}
    if at >= len(names) or all((key, steps) in scored for key in keys):
        return None
    total = seeds * steps
    done = int(found.reason.get("env_steps") or 0)
    return Piloting(names, at, done / total if total else 0.0, steps, seeds)


def _is_baseline(v: Judgement) -> bool:
    return v.reason.get("graph_hash") is None


def _steps(v: Judgement) -> int:
    return int(v.reason.get("steps") or 0)
