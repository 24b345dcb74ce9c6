"""Origin of a credit function: author, request and cost."""

from __future__ import annotations

from dataclasses import dataclass

from qllm.facts.pilots import Pilot, pilots_of
from qllm.store.numbers import run_name
from qllm.store.schema import Candidate, ChatMessage
from qllm.store.store import Store
from synth.candidates import label


@dataclass(frozen=True)
class Provenance:
    """The search that a candidate is of, as far as it concerns the candidate."""

    candidate: int
    """Its number in the store."""
    run: str
    """Number of the search's run."""
    place: str
    """Round, slot and repair, counted from 1: ``1.3.1``."""
    round: int
    """Counted from 1."""
    model: str
    """Name of the coder; empty where unrecorded."""
    is_llm: bool
    """Whether the coder is a language model, and not the embedded sampler."""
    prompt_hash: str
    """SHA-256 of the request that it answers (`models.replay.request_key`); empty where the
    function was given."""
    seed: int | None
    """Of the reply."""
    decided: bool
    """Whether the pilots separate the search's selection from all other functions."""
    selected: bool
    reason: str
    """Why the search selected what it did."""
    replies: int
    """Of the search, repairs included."""
    accepted: int
    tokens: int
    """Of prompts and replies of the search; words, where the coder is the sampler."""
    pilot_steps: int | None
    """Environment steps of all the search's pilots."""
    pilots: tuple[Pilot, ...]
    """Of this function."""


def provenance_of(store: Store, candidate_id: int) -> Provenance:
    """The origin of a candidate.

    Raises:
        StoreError: there is no such candidate or run, or it is damaged.
    """
    row = store.synthesis.candidate(candidate_id)
    run = store.runs.get(row.run_id)
    rows = store.synthesis.candidates(run.id)
    messages = store.synthesis.messages(run.id)
    reply = next((m for m in messages if m.role == "assistant" and _gave(m, row)), None)
    coder, verdicts = run.given.coder, store.synthesis.verdicts(run.id, "pilot")
    spent = [n or 0 for m in messages for n in (m.prompt_tokens, m.completion_tokens)]
    return Provenance(
        candidate=row.id,
        run=run_name(run.id),
        place=label(row.round, row.slot, row.repair),
        round=row.round + 1,
        model=(reply and reply.model) or (coder.name if coder is not None else ""),
        is_llm=coder is not None and coder.is_llm,
        prompt_hash=reply.request_key if reply is not None else "",
        seed=reply.seed if reply is not None else None,
        decided=store.synthesis.decided(run.id),
        selected=store.synthesis.selected(run.id) == row.id,
        reason=run.outcome.reason,
        replies=len(rows),
        accepted=sum(c.verdict == "accepted" for c in rows),
        tokens=sum(spent),
        pilot_steps=run.outcome.pilot_steps,
        pilots=tuple(p for p in pilots_of(verdicts) if p.graph_hash == row.graph_hash),
    )


def _gave(message: ChatMessage, row: Candidate) -> bool:
    """Whether a turn is the reply that a candidate was found in."""
    place = message.round, message.slot
    return place == (row.round, row.slot) and message.content == row.source
