"""How far a search has come, in a few numbers: for a row of the list, and before the trainings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from synth.pilot import is_relaxed

if TYPE_CHECKING:
    from qllm.store.store import Store


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands."""

    round: int
    """Rounds begun."""
    rounds: int
    """Rounds it is to have."""
    accepted: int
    refused: int
    same: int
    """Accepted, but they compute what an earlier one computes."""
    best: float | None
    """Highest final return of the candidates' pilot trainings, of the longest ones only: shorter
    ones say less."""
    best_steps: int
    """How long these were, in environment steps."""
    plain_sum: float | None
    """Final return of the plain sum (VDN) after as many steps."""


class _Pilot(NamedTuple):
    score: float
    candidate: int | None
    reason: dict[str, Any]

    @property
    def steps(self) -> int:
        return int(self.reason.get("steps") or 0)

    @property
    def relaxed(self) -> bool:
        """Whether it was trained under the weaker gate, only to decide which gate counts."""
        return is_relaxed(self.reason.get("key"))


def read_progress(store: Store, run_id: int, config: Mapping[str, Any]) -> SearchProgress:
    """How far the search of a run is.

    Args:
        config: the run's, for how many rounds are wanted.
    """
    from sqlalchemy import func, select

    from qllm.store.attempts import newest
    from qllm.store.schema import Candidate, Round, Verdict

    replies = select(
        Candidate.attempt,
        Candidate.round,
        Candidate.slot,
        Candidate.verdict,
        Candidate.duplicate_of,
    ).where(Candidate.run_id == run_id)
    pilots = select(Verdict.score, Verdict.candidate_id, Verdict.reason).where(
        Verdict.run_id == run_id, Verdict.kind == "pilot", Verdict.score.is_not(None)
    )
    begun = select(func.max(Round.round)).where(Round.run_id == run_id)
    with store.database.read() as session:
        found: list[Any] = list(session.execute(replies))
        scored: list[Any] = list(session.execute(pilots))
        last = session.scalar(begun)
    counts = Counter(
        "same" if reply.duplicate_of is not None else reply.verdict
        for reply in newest(found, "round", "slot")
    )
    known = [pilot for row in scored if not (pilot := _Pilot(*row)).relaxed]
    steps = max((pilot.steps for pilot in known if pilot.candidate is not None), default=0)
    whole = [pilot for pilot in known if pilot.steps == steps]
    wanted = (config.get("synth") or {}).get("rounds") or 0
    return SearchProgress(
        round=0 if last is None else last + 1,
        rounds=max(int(wanted), 0 if last is None else last + 1),
        accepted=counts["accepted"],
        refused=counts["rejected"],
        same=counts["same"],
        best=max((p.score for p in whole if p.candidate is not None), default=None),
        best_steps=steps,
        plain_sum=next((p.score for p in whole if p.candidate is None), None),
    )
