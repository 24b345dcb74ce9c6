"""From the rows of a search to its facts; only changed rows are read again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import select

from qllm.facts.candidates import CandidateFacts, candidate_facts
from qllm.facts.pilots import Pilot, pilots_of
from qllm.facts.search import (
    GateFacts,
    Piloting,
    Proposal,
    RoundFacts,
    SearchFacts,
    SearchHead,
    Turn,
    Writing,
    scores,
    standing,
)
from qllm.store.attempts import newest
from qllm.store.records import Evaluator, Reason
from qllm.store.runs import derived_status
from qllm.store.schema import Attempt, Candidate, ChatMessage, Command, Round, Run, Verdict
from qllm.store.states import ACTIVE, SEARCHES
from qllm.store.store import Store
from synth.candidates import labelled
from synth.pilot import candidate_of

_AT_ONCE = 400
"""Rows fetched by one query; databases limit how many values a query may name."""

_Made = TypeVar("_Made")


def read_search(store: Store, run: Run, memory: dict[str, Any] | None = None) -> SearchFacts:
    """Everything of a run's search; rows that did not change are the same objects as before.

    Args:
        memory: kept between two reads.
    """
    memory = {} if memory is None else memory
    every = _rewritten(store, Candidate, run.id, memory, candidate_facts)
    candidates = sorted(newest(every, "round", "slot"), key=lambda c: c.place)
    turns: list[Turn] = newest(
        _rewritten(store, ChatMessage, run.id, memory, lambda row: row), "conversation"
    )
    turns.sort(key=lambda t: (t.conversation, t.position))
    judged: tuple[Verdict, ...] = _rewritten(store, Verdict, run.id, memory, lambda row: row)
    rounds = store.synthesis.rounds(run.id)
    labels = {c.id: c.label for c in every}
    pilots = pilots_of(judged, labels)
    head = _head(run, turns, rounds, judged)
    known = scores(candidates, pilots)
    told = tuple(_round(r, judged, labels) for r in rounds)
    done = [r for r in told if r.finished]
    best, decided = (done[-1].selected, done[-1].decided) if done else (None, False)
    now = _piloting(judged, pilots, run.attempt) if head.searching else None
    # Before all pilots of a round have ended, neither a tie nor a lead means anything.
    stands = standing(candidates, known, pilots, best, decided=decided) if now is None else None
    return SearchFacts(
        head=head,
        candidates=tuple(candidates),
        writing=_writing(candidates, turns, rounds, head) if head.searching else (),
        rounds=told,
        pilots=tuple(pilots),
        scores=known,
        standing=stands,
        decided=decided,
        piloting=now,
        turns=tuple(turns),
        waiting=_waiting(judged) if head.searching else None,
        gate=_gate(judged),
        notes=tuple(_notes(judged)),
        asked=_asked(store, run) if head.active else (),
        tokens=_tokens(turns),
    )


def search_of(store: Store, family: Sequence[Run]) -> Run | None:
    """The run among these that holds a search; None where there is none."""
    searches = [run for run in family if run.kind in SEARCHES]
    for run in searches:
        if store.synthesis.rounds(run.id) or store.synthesis.candidates(run.id):
            return run
    return next(iter(searches), None)


def _rewritten(
    store: Store,
    table: type[Candidate] | type[ChatMessage] | type[Verdict],
    run_id: int,
    memory: dict[str, Any],
    make: Callable[[Any], _Made],
) -> tuple[_Made, ...]:
    """A run's undamaged rows converted by ``make``, oldest first.

    A job rewrites such rows in place, so that they have no tail to follow; they carry the attempt
    and the time of their last writing instead. A row that did not change gives the same object as
    the last time.
    """
    known: dict[int, tuple[object, _Made]] = memory.setdefault(table.__tablename__, {})
    written = select(table.id, table.attempt, table.created).where(table.run_id == run_id)
    with store.database.read() as session:
        stamps = {
            id_: (attempt, created)
            for id_, attempt, created in session.execute(written.order_by(table.id))
        }
        changed = [i for i, stamp in stamps.items() if i not in known or known[i][0] != stamp]
        for first in range(0, len(changed), _AT_ONCE):
            some = changed[first : first + _AT_ONCE]
            rows: Iterable[Any] = session.scalars(select(table).where(table.id.in_(some)))
            for row in rows:
                known.pop(row.id, None)
                if not row.damage:
                    known[row.id] = (row.attempt, row.created), make(row)
    for gone in known.keys() - stamps.keys():
        del known[gone]
    return tuple(known[i][1] for i in stamps if i in known)


def _head(
    run: Run, turns: Sequence[Turn], rounds: Sequence[Round], judged: Sequence[Verdict]
) -> SearchHead:
    synth, gate, given = run.settings.synth, run.settings.gate, run.given
    name = next((t.model for t in turns if t.model), synth.coder)
    # Older runs did not record it; these two names are the embedded program sampler's.
    is_llm = name not in ("sampler", "auto")
    if given.coder is not None:
        name, is_llm = given.coder.name or name, given.coder.is_llm
    evaluator = given.evaluator or Evaluator(kind=synth.evaluator)
    status = derived_status(run)
    end = run.ended or (time.time() if status in ACTIVE else run.beat)
    searched = run.kind == "run" and given.tfcaf is not None
    ends = [r.ended for r in rounds if r.ended] + [v.created for v in judged if v.kind == "gate"]
    search_end = max(ends, default=None) if searched else end
    return SearchHead(
        run_id=run.id,
        kind=run.kind,
        task=run.task,
        status=status,
        coder=name or "unknown",
        is_llm=is_llm,
        error=run.error or "",
        evaluator=evaluator.kind + (f" ({evaluator.model})" if evaluator.model else ""),
        constraint=synth.constraint,
        gate=gate.mode,
        gate_function=gate.function,
        scaled=gate.scale_by_agents,
        approve=synth.approve,
        rounds=synth.rounds,
        per_round=synth.candidates,
        given=len(given.start),
        command=run.command,
        searched=searched,
        elapsed_s=search_end - run.started if run.started and search_end else None,
        run_s=end - run.started if run.started and end else None,
        seconds=tuple(run.outcome.seconds.items()),
    )


def _writing(
    candidates: Sequence[CandidateFacts],
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


def _round(row: Round, judged: Sequence[Verdict], labels: dict[int, str]) -> RoundFacts:
    key = f"round-{row.round}"
    told = next((v.said for v in judged if v.kind == "selection" and v.key == key), Reason())
    answers = []
    for v in judged:
        if v.kind == "approval" and v.key.startswith(f"{key}-"):
            word = "approved" if v.said.answer == "approve" else "rejected"
            advice = f", with the advice: {v.said.advice}" if v.said.advice else ""
            answers.append(f"{labels.get(v.candidate_id or 0, '')} {word} by hand{advice}".strip())
    return RoundFacts(
        round=row.round,
        finished=row.finished,
        selected=row.selected_candidate_id,
        reason=labelled(row.reason or ""),
        result=labelled(told.result),
        advice=labelled(row.advice or ""),
        accepted=told.accepted,
        rejected=told.rejected,
        duplicates=told.duplicates,
        decided=told.decided,
        answers=tuple(answers),
    )


def _piloting(judged: Sequence[Verdict], pilots: Sequence[Pilot], attempt: int) -> Piloting | None:
    """The pilots under way, as this attempt of the job has recorded them."""
    said = next((v.said for v in judged if v.kind == "piloting" and v.attempt == attempt), None)
    if said is None:
        return None
    names = tuple(labelled(candidate_of(key)) for key in said.keys)
    scored = {(v.said.key, v.said.steps) for v in judged if v.kind == "pilot"}
    if said.at >= len(names) or all((key, said.steps) in scored for key in said.keys):
        return None
    seeds = said.seeds if isinstance(said.seeds, int) else 0
    total = seeds * said.steps
    return Piloting(names, said.at, said.env_steps / total if total else 0.0, said.steps, seeds)


def _waiting(judged: Sequence[Verdict]) -> Proposal | None:
    answered = {v.key for v in judged if v.kind == "approval"}
    open_ = [v for v in judged if v.kind == "proposal" and v.key not in answered]
    if not open_:
        return None
    said = open_[-1].said
    advice = labelled(said.advice)
    return Proposal(said.round, open_[-1].candidate_id, labelled(said.reason), advice)


def _gate(judged: Sequence[Verdict]) -> GateFacts | None:
    said = next((v.said for v in judged if v.kind == "gate"), None)
    if said is None:
        return None
    evidence, proposal = said.evidence, said.evidence.proposal
    words, model = (
        (proposal, "")
        if isinstance(proposal, str)
        else (
            ": ".join(filter(None, (proposal.mode, proposal.reason))),
            proposal.model,
        )
    )
    return GateFacts(
        mode=said.mode,
        function=said.function,
        reason=labelled(said.reason),
        proposal=labelled(words),
        proposed_by=model,
        rows=tuple(
            row.model_copy(update={"candidate": labelled(row.candidate)}) for row in evidence.scores
        ),
        steps=evidence.steps,
    )


def _notes(judged: Sequence[Verdict]) -> list[tuple[str, str]]:
    notes = []
    for v in judged:
        if v.kind == "note":
            notes.append((v.said.level, labelled(v.said.text)))
        elif v.kind == "budget":
            notes.append(("warning", labelled(v.said.reason)))
    return notes


def _asked(store: Store, run: Run) -> tuple[str, ...]:
    """Commands to this attempt that still hold."""
    begun = select(Attempt.started).where(Attempt.run_id == run.id, Attempt.attempt == run.attempt)
    with store.database.read() as session:
        since = session.scalar(begun) or 0.0
        names = session.scalars(
            select(Command.name)
            .where(Command.run_id == run.id, Command.issued >= since)
            .order_by(Command.id)
        )
        return tuple(dict.fromkeys(n for n in names if n in ("stop", "stop-after-round")))


def _tokens(turns: Sequence[Turn]) -> int:
    """Tokens read and written by models; a prompt shared by several replies counts once."""
    read = {t.request_key or str(t.id): t.prompt_tokens or 0 for t in turns if t.model}
    return sum(read.values()) + sum(t.completion_tokens or 0 for t in turns)
