"""Rounds, candidates, conversations and verdicts of a synthesis.

A synthesis that is resumed goes through its rounds again from the recorded traffic. Rows are
found by what they are (round, slot, repair; conversation, position; kind, key) and rewritten in
place, so that an id stays what it was. Rows that the new attempt did not reach again, because it
took another turn in that slot or conversation, are left out when reading.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from qllm.store.attempts import newest
from qllm.store.database import Database
from qllm.store.errors import StoreError
from qllm.store.outage import patient
from qllm.store.schema import Base, Candidate, ChatMessage, Round, Verdict


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, to store. The optional fields belong to a model's reply."""

    conversation: str
    position: int
    role: str
    content: str
    model: str | None = None
    seed: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float | None = None
    streaming: bool = False
    request: Mapping[str, Any] | None = None


_Row = TypeVar("_Row", bound=Base)


def _upsert(session: Session, table: type[_Row], key: dict[str, Any], **values: Any) -> _Row:
    row = session.scalar(select(table).filter_by(**key))
    if row is None:
        row = table(**key, **values)
        session.add(row)
    else:
        for name, value in values.items():
            setattr(row, name, value)
    session.flush()
    return row


def _sound(rows: Iterable[_Row]) -> list[_Row]:
    return [row for row in rows if not row.damage]


@patient()
class SynthesisTable:
    """The tables of a synthesis; ``run_id`` is the run of kind ``synth`` or ``run``.

    Damaged rows are left out when reading, and noted in ``Database.damage``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_round(self, run_id: int, attempt: int, round_: int) -> None:
        """Store that a round has started."""
        key = {"run_id": run_id, "round": round_}
        with self._database.write() as session:
            _upsert(session, Round, key, attempt=attempt, status="running", started=time.time())

    def end_round(
        self,
        run_id: int,
        round_: int,
        *,
        selected_candidate_id: int | None,
        reason: str,
        advice: str,
    ) -> None:
        """A round has ended with a selection (or none) and a piece of advice."""
        with self._database.write() as session:
            _upsert(
                session,
                Round,
                {"run_id": run_id, "round": round_},
                status="finished",
                ended=time.time(),
                selected_candidate_id=selected_candidate_id,
                reason=reason,
                advice=advice,
            )

    def record_candidate(
        self,
        run_id: int,
        attempt: int,
        place: tuple[int, int, int],
        *,
        source: str,
        report: Mapping[str, Any],
        parent_id: int | None = None,
        duplicate_of: int | None = None,
    ) -> int:
        """A checked candidate; returns its id.

        Args:
            place: (round, slot, repair).
            report: ``CheckReport.to_json()``.
            parent_id: the candidate that this one repairs.
            duplicate_of: the candidate with the same graph that came first.
        """
        key = {"run_id": run_id, "round": place[0], "slot": place[1], "repair": place[2]}
        with self._database.write() as session:
            row = _upsert(
                session,
                Candidate,
                key,
                attempt=attempt,
                source=source,
                report=dict(report),
                parent_id=parent_id,
                duplicate_of=duplicate_of,
                graph_hash=report.get("graph_hash"),
                stage=report["stage"],
                verdict=report["verdict"],
                rule=report.get("rule"),
                created=time.time(),
            )
            return row.id

    def record_turns(self, run_id: int, attempt: int, turns: Sequence[Turn]) -> None:
        """Store turns of conversations in one transaction."""
        with self._database.write() as session:
            for turn in turns:
                values = {"attempt": attempt, "created": time.time(), **vars(turn)}
                values["request"] = dict(turn.request) if turn.request is not None else None
                place = {name: values.pop(name) for name in ("conversation", "position")}
                _upsert(session, ChatMessage, {"run_id": run_id, **place}, **values)

    def record_verdict(
        self,
        run_id: int,
        attempt: int,
        kind: str,
        key: str,
        *,
        reason: Mapping[str, Any],
        score: float | None = None,
        round_: int | None = None,
        candidate_id: int | None = None,
    ) -> None:
        """Store a judgement; one of the same kind and key is replaced."""
        with self._database.write() as session:
            _upsert(
                session,
                Verdict,
                {"run_id": run_id, "kind": kind, "key": key},
                attempt=attempt,
                reason=dict(reason),
                score=score,
                round=round_,
                candidate_id=candidate_id,
                created=time.time(),
            )

    def rounds(self, run_id: int) -> list[Round]:
        """The rounds of a synthesis, in order."""
        query = select(Round).where(Round.run_id == run_id).order_by(Round.round)
        with self._database.read() as session:
            return _sound(session.scalars(query))

    def candidates(self, run_id: int) -> list[Candidate]:
        """The candidates of a synthesis by round, slot and repair."""
        query = (
            select(Candidate)
            .where(Candidate.run_id == run_id)
            .order_by(Candidate.round, Candidate.slot, Candidate.repair)
        )
        with self._database.read() as session:
            return newest(_sound(session.scalars(query)), "round", "slot")

    def candidate(self, candidate_id: int) -> Candidate:
        """A candidate by its id.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        with self._database.read() as session:
            row = session.get(Candidate, candidate_id)
            if row is None:
                newest = session.scalar(select(Candidate.id).order_by(Candidate.id.desc()).limit(1))
                hint = "there are none yet" if newest is None else f"the newest is {newest}"
                raise StoreError(f"no candidate {candidate_id} in {self._database.where}: {hint}")
            if row.damage:
                raise StoreError(f"candidate {candidate_id} is damaged ({row.damage})")
            return row

    def messages(self, run_id: int, conversation: str | None = None) -> list[ChatMessage]:
        """The turns of a run's conversations (or of one), each conversation in order."""
        query = select(ChatMessage).where(ChatMessage.run_id == run_id)
        if conversation is not None:
            query = query.where(ChatMessage.conversation == conversation)
        with self._database.read() as session:
            # Not by the database, whose collation may be any.
            rows = sorted(session.scalars(query), key=lambda row: (row.conversation, row.position))
            return newest(_sound(rows), "conversation")

    def traffic(self, run_id: int) -> list[ChatMessage]:
        """Every finished reply of every attempt, oldest first, for a replay."""
        query = (
            select(ChatMessage)
            .where(ChatMessage.run_id == run_id, ChatMessage.role == "assistant")
            .where(ChatMessage.streaming.is_(False), ChatMessage.request.is_not(None))
            .order_by(ChatMessage.id)
        )
        with self._database.read() as session:
            return _sound(session.scalars(query))

    def decided(self, run_id: int) -> bool:
        """Whether the pilots separate the last selection from every other function."""
        judged = [v for v in self.verdicts(run_id, "selection") if v.round is not None]
        last = max(judged, key=lambda v: v.round or 0, default=None)
        return last is not None and last.said.decided

    def selected(self, run_id: int) -> int | None:
        """Number of the candidate that the last finished round selected, the best of all rounds."""
        done = [r for r in self.rounds(run_id) if r.finished]
        return done[-1].selected_candidate_id if done else None

    def verdicts(self, run_id: int, kind: str | None = None) -> list[Verdict]:
        """The judgements of a run (of one kind), oldest first."""
        query = select(Verdict).where(Verdict.run_id == run_id).order_by(Verdict.id)
        if kind is not None:
            query = query.where(Verdict.kind == kind)
        with self._database.read() as session:
            return _sound(session.scalars(query))
