"""Progress of a search in a few numbers, for a row of the list of runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm.store.store import Store


@dataclass(frozen=True)
class SearchProgress:
    """Progress of a search."""

    round: int
    """Rounds begun."""
    rounds: int
    """Rounds configured."""
    accepted: int
    refused: int
    same: int
    """Accepted duplicates of earlier functions."""
    best: float | None
    """Highest final return of the candidates' longest pilot trainings."""
    best_steps: int
    """Environment steps of each of these."""
    plain_sum: float | None
    """Final return of the plain sum (VDN) after as many steps."""


def read_progress(store: Store, run_id: int, wanted: int) -> SearchProgress:
    """The progress of a run's search.

    Args:
        wanted: rounds configured.
    """
    from sqlalchemy import func, select

    from qllm.facts.pilots import pilots_of
    from qllm.store.attempts import newest
    from qllm.store.schema import Candidate, Round

    replies = select(
        Candidate.attempt,
        Candidate.round,
        Candidate.slot,
        Candidate.verdict,
        Candidate.duplicate_of,
    ).where(Candidate.run_id == run_id)
    begun = select(func.max(Round.round)).where(Round.run_id == run_id)
    with store.database.read() as session:
        found: list[Any] = list(session.execute(replies))
        last = session.scalar(begun)
    counts = Counter(
        "same" if reply.duplicate_of is not None else reply.verdict
        for reply in newest(found, "round", "slot")
    )
    pilots = pilots_of(store.synthesis.verdicts(run_id, "pilot"))
    known = [(p, p.final) for p in pilots if p.final is not None and not p.relaxed]
    steps = max((p.steps for p, _ in known if not p.baseline), default=0)
    whole = [(p, final) for p, final in known if p.steps == steps]
    done = 0 if last is None else last + 1
    return SearchProgress(
        round=done,
        rounds=max(wanted, done),
        accepted=counts["accepted"],
        refused=counts["rejected"],
        same=counts["same"],
        best=max((final for p, final in whole if not p.baseline), default=None),
        best_steps=steps,
        plain_sum=next((final for p, final in whole if p.baseline), None),
    )
