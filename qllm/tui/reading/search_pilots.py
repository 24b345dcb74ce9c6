"""Pilot trainings of a search: which functions are at work, what they came to, what that tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from marl.statistics import paired_difference
from qllm.store.schema import Round
from qllm.tui.reading.search_rows import CandidateRow, Judgement
from qllm.tui.reading.search_view import Piloting, PilotRow, Score, Standing
from synth.candidates import labelled
from synth.pilot import BASELINE_KEY, candidate_of, is_relaxed


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
        final=v.reason.get("final_mean"),
        area=v.reason.get("area_mean"),
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
        longest[v.reason["graph_hash"]] = Score(
            v.reason.get("final_mean"), _steps(v), _steps(v) == most, error
        )
    return {c.id: longest[c.graph_hash] for c in candidates if c.graph_hash in longest}


def standing(
    candidates: Sequence[CandidateRow],
    known: Mapping[int, Score],
    judged: Sequence[Judgement],
    rounds: Sequence[Round],
) -> Standing | None:
    """How the choice of the last finished round stands to the other functions.

    Returns:
        ``None`` where nothing is chosen yet, or it was not measured.
    """
    last = next((r for r in reversed(rounds) if r.status == "finished"), None)
    best = None if last is None else last.selected_candidate_id
    if last is None or best is None or best not in known or known[best].value is None:
        return None
    decided = any(
        v.kind == "selection" and v.round == last.round and v.reason.get("decided") for v in judged
    )
    finals = {
        (v.reason.get("graph_hash"), _steps(v)): dict(
            zip(v.reason.get("seeds") or (), v.reason.get("finals") or (), strict=False)
        )
        for v in judged
        if v.kind == "pilot"
    }
    accepted = [c for c in candidates if c.verdict == "accepted" and c.id in known]
    mine = next((c.graph_hash for c in accepted if c.id == best), None)

    def close(other: str | None) -> bool:
        """Whether their pilots, over the longest that both had, do not put the choice above."""
        steps = max((at for h, at in finals if h == other and (mine, at) in finals), default=None)
        if steps is None or not finals[other, steps]:
            return False
        found = paired_difference(finals[mine, steps], finals[other, steps])
        return found is not None and not (found.told_apart and found.mean > 0)

    return Standing(
        decided=decided,
        best=best,
        close=()
        if decided
        else tuple(c.id for c in accepted if c.id != best and close(c.graph_hash)),
        with_baseline=close(None),
        measured=len({c.graph_hash for c in accepted}),
    )


def piloting(judged: Sequence[Judgement], attempt: int) -> Piloting | None:
    """What is being measured at this moment, as far as this attempt of the job has told."""
    found = next((v for v in judged if v.kind == "piloting" and v.attempt == attempt), None)
    if found is None:
        return None
    keys, at = list(found.reason.get("keys") or ()), int(found.reason.get("at") or 0)
    seeds, steps = int(found.reason.get("seeds") or 0), int(found.reason.get("steps") or 0)
    names = tuple(labelled(candidate_of(str(key))) for key in keys)
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
