"""One search: its rounds, candidates, conversations and judgements."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from qllm.store.attempts import newest
from qllm.store.runs import ACTIVE, derived_status
from qllm.store.schema import Attempt, Candidate, ChatMessage, Command, Round, Run, Verdict
from qllm.store.store import Store
from qllm.tui.reading.rewritten import rewritten
from qllm.tui.reading.search_pilots import pilot_row, piloting, scores, standing
from qllm.tui.reading.search_rows import (
    CandidateRow,
    Judgement,
    Turn,
    candidate_row,
    judgement,
    said,
    turn,
)
from qllm.tui.reading.search_view import (
    GateRow,
    GateView,
    Proposal,
    RoundRow,
    SearchHead,
    SynthesisView,
    Writing,
)


@dataclass(frozen=True)
class SynthesisQuery:
    """A search by the number of the run that it is recorded under."""

    run_id: int

    def read(self, store: Store, memory: dict[str, Any]) -> SynthesisView:
        """Everything of it; rows that did not change are the same objects as before.

        Raises:
            UnknownRunError: there is no such run.
        """
        run = store.runs.get(self.run_id)
        all_candidates = rewritten(store, Candidate, run.id, memory, candidate_row)
        candidates = newest(all_candidates, "round", "slot")
        candidates.sort(key=lambda c: c.place)
        turns = newest(rewritten(store, ChatMessage, run.id, memory, turn), "conversation")
        turns.sort(key=lambda t: (t.conversation, t.position))
        judged = rewritten(store, Verdict, run.id, memory, judgement)
        rounds = store.synthesis.rounds(run.id)
        head = _head(run, turns, rounds, judged)
        labels = {c.id: c.label for c in all_candidates}
        known = scores(candidates, judged)
        now = piloting(judged, run.attempt) if head.searching else None
        return SynthesisView(
            head=head,
            candidates=tuple(candidates),
            writing=_writing(candidates, turns, rounds, head) if head.searching else (),
            rounds=tuple(_round(r, judged, labels) for r in rounds),
            pilots=tuple(pilot_row(v, labels) for v in judged if v.kind == "pilot"),
            scores=known,
            # Half-way through a round's pilots a tie, or a lead, says nothing yet.
            standing=standing(candidates, known, judged, rounds) if now is None else None,
            piloting=now,
            turns=tuple(turns),
            waiting=_waiting(judged) if head.searching else None,
            gate=_gate(judged),
            notes=tuple(_notes(judged)),
            asked=_asked(store, run) if head.active else (),
            tokens=_tokens(turns),
        )


def _head(
    run: Run, turns: Sequence[Turn], rounds: Sequence[Round], judged: Sequence[Judgement]
) -> SearchHead:
    synth = run.config.get("synth") or {}
    gate = run.config.get("gate") or {}
    result, inputs = run.result or {}, run.inputs or {}
    coder = inputs.get("coder") or {}
    evaluator = inputs.get("evaluator") or {"kind": synth.get("evaluator", "")}
    name = str(coder.get("name") or next((t.model for t in turns if t.model), ""))
    status = derived_status(run)
    end = run.ended or (time.time() if status in ACTIVE else run.beat)
    searched = run.kind == "run" and "tfcaf" in inputs
    ends = [r.ended for r in rounds if r.ended] + [v.created for v in judged if v.kind == "gate"]
    search_end = max(ends, default=None) if searched else end
    model = evaluator.get("model")
    seconds = result.get("seconds") or {}
    return SearchHead(
        run_id=run.id,
        kind=run.kind,
        task=run.task,
        status=status,
        error=run.error or "",
        coder=name or str(synth.get("coder", "")),
        is_llm=bool(coder.get("is_llm")),
        evaluator=str(evaluator.get("kind", "")) + (f" ({model})" if model else ""),
        constraint=str(synth.get("constraint", "none")),
        gate=str(gate.get("mode", "")),
        approve=str(synth.get("approve", "auto")),
        rounds=int(synth.get("rounds") or 0),
        per_round=int(synth.get("candidates") or 0),
        command=run.command,
        searched=searched,
        elapsed_s=search_end - run.started if run.started and search_end else None,
        run_s=end - run.started if run.started and end else None,
        seconds=tuple((k, float(v)) for k, v in seconds.items() if isinstance(v, int | float)),
    )


def _writing(
    candidates: Sequence[CandidateRow],
    turns: Sequence[Turn],
    rounds: Sequence[Round],
    head: SearchHead,
) -> tuple[Writing, ...]:
    """Replies of the running round that are not candidates yet."""
    now = next((r.round for r in reversed(rounds) if r.status == "running"), None)
    if now is None:
        return ()
    written: dict[int, list[Turn]] = {}
    for t in turns:
        if t.round == now and t.slot is not None and t.role == "assistant":
            written.setdefault(t.slot, []).append(t)
    checked = Counter(c.slot for c in candidates if c.round == now)
    opened = any(t.round == now and not t.asked for t in turns)
    out = []
    for slot in sorted({*written, *(range(head.per_round) if opened else ())}):
        replies, done = written.get(slot, []), checked[slot]
        last = replies[-1] if replies else None
        if last is not None and last.streaming:
            out.append(Writing(now, slot, done, "writing", len(last.content)))
        elif len(replies) > done:
            out.append(Writing(now, slot, done, "checking", 0))
        elif not replies and not done:
            out.append(Writing(now, slot, 0, "asked", 0))
    return tuple(out)


def _round(row: Round, judged: Sequence[Judgement], labels: Mapping[int, str]) -> RoundRow:
    selection = next(
        (v for v in judged if v.kind == "selection" and v.key == f"round-{row.round}"), None
    )
    told = selection.reason if selection is not None else {}
    answers = []
    for v in judged:
        if v.kind == "approval" and v.key.startswith(f"round-{row.round}-"):
            own = str(v.reason.get("advice") or "")
            word = "approved" if v.reason.get("answer") == "approve" else "rejected"
            chosen = labels.get(v.candidate_id or 0, "")
            answers.append(
                f"{chosen} {word} by hand".strip() + (f", with the advice: {own}" if own else "")
            )
    return RoundRow(
        round=row.round,
        finished=row.status == "finished",
        selected=row.selected_candidate_id,
        reason=said(row.reason),
        result=said(told.get("result")),
        advice=said(row.advice),
        accepted=told.get("accepted"),
        rejected=told.get("rejected"),
        duplicates=told.get("duplicates"),
        decided=bool(told.get("decided")),
        answers=tuple(answers),
    )


def _waiting(judged: Sequence[Judgement]) -> Proposal | None:
    answered = {v.key for v in judged if v.kind == "approval"}
    open_ = [v for v in judged if v.kind == "proposal" and v.key not in answered]
    if not open_:
        return None
    last = open_[-1]
    return Proposal(
        round=int(last.reason.get("round") or 0),
        candidate_id=last.candidate_id,
        reason=said(last.reason.get("reason")),
        advice=said(last.reason.get("advice")),
    )


def _gate(judged: Sequence[Judgement]) -> GateView | None:
    found = next((v for v in judged if v.kind == "gate"), None)
    if found is None:
        return None
    evidence = found.reason.get("evidence") or {}
    proposal = evidence.get("proposal")
    words = proposal if isinstance(proposal, str) else ""
    if isinstance(proposal, Mapping):
        words = ": ".join(str(v) for v in (proposal.get("mode"), proposal.get("reason")) if v)
    return GateView(
        mode=str(found.reason.get("mode") or ""),
        function=str(found.reason.get("function") or ""),
        reason=said(found.reason.get("reason")),
        proposal=said(words),
        rows=tuple(
            GateRow(
                name=said(row.get("candidate")),
                same=bool(row.get("same")),
                relax=row.get("relax"),
                enforce=row.get("enforce"),
                refused=str(row.get("enforce_refused") or ""),
            )
            for row in evidence.get("scores") or ()
        ),
        steps=evidence.get("steps"),
    )


def _notes(judged: Sequence[Judgement]) -> list[tuple[str, str]]:
    notes = []
    for v in judged:
        if v.kind == "note":
            notes.append((str(v.reason.get("level") or "info"), said(v.reason.get("text"))))
        elif v.kind == "budget":
            notes.append(("warning", said(v.reason.get("reason"))))
    return notes


def _asked(store: Store, run: Run) -> tuple[str, ...]:
    """What this attempt was asked for and still stands."""
    with store.database.read() as session:
        begun = session.scalar(
            select(Attempt.started).where(Attempt.run_id == run.id, Attempt.attempt == run.attempt)
        )
        names = session.scalars(
            select(Command.name)
            .where(Command.run_id == run.id, Command.issued >= (begun or 0.0))
            .order_by(Command.id)
        )
        return tuple(dict.fromkeys(n for n in names if n in ("stop", "stop-after-round")))


def _tokens(turns: Sequence[Turn]) -> int:
    """Read and written by models; what is read for several replies at once is read once."""
    read = {t.request or str(t.id): t.prompt_tokens or 0 for t in turns if t.model}
    return sum(read.values()) + sum(t.completion_tokens or 0 for t in turns)
