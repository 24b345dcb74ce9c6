"""Rows of a search as plain records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from qllm.store.schema import Candidate, ChatMessage
from synth.candidates import label, labelled


@dataclass(frozen=True)
class CandidateRow:
    """One reply of the coder, and what became of it."""

    id: int
    round: int
    slot: int
    repair: int
    """All three counted from 0."""
    attempt: int
    verdict: str
    """``accepted``, ``rejected`` or ``duplicate``."""
    stage: str
    rule: str
    form: str
    """``weights`` or ``mixing``; empty where the sandbox did not get that far."""
    gate: str
    igm: str
    finite: str
    duplicate_of: int | None
    parent_id: int | None
    graph_hash: str | None
    code: str
    """The Python that the sandbox found in the reply."""
    feedback: str

    @property
    def label(self) -> str:
        """Its place as people count, such as ``1.3.1``."""
        return label(self.round, self.slot, self.repair)

    @property
    def place(self) -> tuple[int, int, int]:
        """Round, slot, repair."""
        return self.round, self.slot, self.repair

    @property
    def why(self) -> str:
        """Why it was rejected, such as ``monotone violated``; empty where it was not."""
        if self.verdict != "rejected":
            return ""
        stage, _, name = self.rule.partition(".")
        return f"{name} violated" if stage == "properties" and name else self.rule or self.stage


def candidate_row(row: Candidate) -> CandidateRow:
    """A row of the store as a record."""
    report = row.report
    return CandidateRow(
        id=row.id,
        round=row.round,
        slot=row.slot,
        repair=row.repair,
        attempt=row.attempt,
        verdict="duplicate" if row.duplicate_of is not None else row.verdict,
        stage=row.stage,
        rule=row.rule or "",
        form=str(report.get("signature") or ""),
        gate=str(report.get("gate") or ""),
        igm=str(report.get("igm") or ""),
        finite=str(report.get("finite") or ""),
        duplicate_of=row.duplicate_of,
        parent_id=row.parent_id,
        graph_hash=row.graph_hash,
        code=str(report.get("code") or row.source),
        feedback=str(report.get("feedback") or ""),
    )


_CONVERSATION = re.compile(
    r"r(\d{1,6})(?:\.s(\d{1,6})|\.(select|advice|gate)(?:\.\d{1,6})?)?(?:\.\d{1,6})?(-\d{1,6})?"
)
"""Round, slot, what an evaluator was asked, and whether something was left out."""

ASKED = {"select": "selection", "advice": "advice", "gate": "proposal for the gate"}
"""What an evaluator is asked, as it stands in a conversation's name and in words."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    id: int
    attempt: int
    conversation: str
    position: int
    role: str
    content: str
    round: int | None
    """``None`` in a conversation of no known kind."""
    slot: int | None
    asked: str
    """``select``, ``advice`` or ``gate`` in an evaluator's conversation, else empty."""
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float | None
    streaming: bool
    """Still being written."""
    request: str
    """Key of the request that a reply answers, shared by the replies to one request."""


def turn(row: ChatMessage) -> Turn:
    """A row of the store as a record."""
    place = _CONVERSATION.fullmatch(row.conversation)
    return Turn(
        id=row.id,
        attempt=row.attempt,
        conversation=row.conversation,
        position=row.position,
        role=row.role,
        content=row.content,
        round=int(place[1]) if place else None,
        slot=int(place[2]) if place and place[2] else None,
        asked=(place[3] or "") if place else "",
        model=row.model or "",
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        latency_s=row.latency_s,
        streaming=row.streaming,
        request=str((row.request or {}).get("key") or ""),
    )


@dataclass(frozen=True)
class Judgement:
    """A verdict of the store as a record."""

    attempt: int
    kind: str
    key: str
    round: int | None
    candidate_id: int | None
    score: float | None
    reason: dict[str, Any]
    created: float


def judgement(row: Any) -> Judgement:
    """A row of the store as a record."""
    return Judgement(
        row.attempt,
        row.kind,
        row.key,
        row.round,
        row.candidate_id,
        row.score,
        row.reason,
        row.created,
    )


def said(text: object) -> str:
    """A text of an evaluator with the candidates called as people count them."""
    return labelled(str(text or ""))
