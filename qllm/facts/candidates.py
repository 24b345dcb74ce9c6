"""Candidates: replies of the coder with the sandbox's verdicts and findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from qllm.facts.pilots import Pilot, longest, pilots_of
from qllm.store.records import Check
from qllm.store.schema import Candidate, Run
from qllm.store.states import SEARCHES
from qllm.store.store import Store
from synth.candidates import label


@dataclass(frozen=True)
class CandidateFacts:
    """One reply of the coder."""

    id: int
    """Its number in the store, which ``--tfcaf`` accepts."""
    run_id: int
    round: int
    slot: int
    repair: int
    """All three counted from 0."""
    attempt: int
    label: str
    """Its place counted from 1: ``1.3``, or ``1.3.1`` for its first repair."""
    verdict: str
    """``accepted``, ``rejected`` or ``duplicate``."""
    stage: str
    rule: str
    check: Check
    """The sandbox's findings; texts are empty where it did not get that far."""
    graph_hash: str | None
    """Of the gated graph: equal hashes are equal functions."""
    duplicate_of: int | None
    parent_id: int | None
    """Number of the rejected reply that it repairs."""
    reply: str
    created: float | None
    """Seconds since the epoch."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Round, slot, repair."""
        return self.round, self.slot, self.repair

    @property
    def code(self) -> str:
        """The Python that the sandbox found in the reply."""
        return self.check.code or self.reply

    @property
    def accepted(self) -> bool:
        return self.verdict != "rejected"

    @property
    def why(self) -> str:
        """Why it was rejected, such as ``monotone violated``; empty where it was not."""
        if self.accepted:
            return ""
        stage, _, name = self.rule.partition(".")
        return f"{name} violated" if stage == "properties" and name else self.rule or self.stage

    @property
    def counterexample(self) -> str | None:
        """Of the first property that it violates."""
        found = (p.counterexample for p in self.check.properties if p.broken)
        return next((counterexample for counterexample in found if counterexample), None)


def candidate_facts(row: Candidate) -> CandidateFacts:
    """The facts of a row of the store."""
    return CandidateFacts(
        id=row.id,
        run_id=row.run_id,
        round=row.round,
        slot=row.slot,
        repair=row.repair,
        attempt=row.attempt,
        label=label(row.round, row.slot, row.repair),
        verdict="duplicate" if row.duplicate_of is not None else row.verdict,
        stage=row.stage,
        rule=row.rule or "",
        check=row.check,
        graph_hash=row.graph_hash,
        duplicate_of=row.duplicate_of,
        parent_id=row.parent_id,
        reply=row.source,
        created=row.created,
    )


@dataclass(frozen=True)
class Archived:
    """An accepted candidate among those of its task."""

    facts: CandidateFacts
    task: str
    selected: bool
    """Whether its run selected it, or another candidate with its graph."""
    decided: bool
    """Whether the pilots separate the run's selection from all its other functions."""
    pilot: Pilot | None
    """The longest that its function had in its run."""
    report: dict[str, Any]
    """``CheckReport.to_json()``"""


def accepted_candidates(store: Store, task: str) -> list[Archived]:
    """The accepted candidates of a task, those of the newest run first, then by their places.

    What a resumed run superseded is left out.
    """
    searches = Run.task == task, Run.kind.in_(SEARCHES)
    with store.database.read() as session:
        runs = list(session.scalars(select(Run.id).where(*searches).order_by(Run.id.desc())))
    return [found for run_id in runs for found in _of_run(store, run_id, task)]


def tasks_with_candidates(store: Store) -> list[str]:
    """Names of the tasks that have accepted candidates, in order."""
    query = (
        select(Run.task)
        .join(Candidate, Candidate.run_id == Run.id)
        .where(Candidate.verdict == "accepted")
        .distinct()
        .order_by(Run.task)
    )
    with store.database.read() as session:
        return list(session.scalars(query))


def _of_run(store: Store, run_id: int, task: str) -> list[Archived]:
    rows = [c for c in store.synthesis.candidates(run_id) if c.verdict == "accepted"]
    if not rows:
        return []
    pilots = longest(pilots_of(store.synthesis.verdicts(run_id, "pilot")))
    best = store.synthesis.selected(run_id)
    chosen = next((row.graph_hash for row in rows if row.id == best), None)
    decided = store.synthesis.decided(run_id)
    return [
        Archived(
            candidate_facts(row),
            task,
            selected=row.graph_hash == chosen,
            decided=row.graph_hash == chosen and decided,
            pilot=pilots.get(row.graph_hash),
            report=row.report,
        )
        for row in rows
        if row.graph_hash
    ]


@dataclass(frozen=True)
class CandidateView:
    """A candidate and its place in its search."""

    row: CandidateFacts
    task: str
    model: str
    """Name of the coder."""
    duplicate_of: str
    """Label of the candidate that computes the same; empty if there is none."""
    corrects: str
    """Label of the rejected reply that it corrects."""
    selected: bool
    """Whether it is the selection of the last finished round."""
    decided: bool
    """Whether the pilots separate the selection from all other functions."""
    pilot: Pilot | None
    """The longest that its function had."""
    train: tuple[str, ...]
    """Words after ``qllm`` that train with it; empty where it was rejected."""


def read_candidate(store: Store, candidate_id: int) -> CandidateView:
    """Everything of a candidate.

    Raises:
        StoreError: there is no such candidate, or its row is damaged.
    """
    row = candidate_facts(store.synthesis.candidate(candidate_id))
    run = store.runs.get(row.run_id)
    others = {row.duplicate_of, row.parent_id} - {None}
    found = store.synthesis.candidates(run.id) if others else []
    labels = {c.id: label(c.round, c.slot, c.repair) for c in found}
    pilots = longest(pilots_of(store.synthesis.verdicts(run.id, "pilot")))
    gate = ("--gate", "relax") if row.check.gate == "relax" else ()
    train = ("train", run.task, "--algo", "qllm", "--tfcaf", str(row.id), *gate)
    return CandidateView(
        row=row,
        task=run.task,
        model=run.given.coder.name if run.given.coder is not None else "",
        duplicate_of=labels.get(row.duplicate_of or 0, ""),
        corrects=labels.get(row.parent_id or 0, ""),
        selected=store.synthesis.selected(run.id) == row.id,
        decided=store.synthesis.decided(run.id),
        pilot=pilots.get(row.graph_hash or ""),
        train=train if row.accepted else (),
    )
