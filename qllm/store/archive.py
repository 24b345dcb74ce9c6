"""The accepted candidates of a task, over all runs of a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from qllm.store.schema import Candidate, Run, Verdict
from qllm.store.store import Store


@dataclass(frozen=True)
class PilotResult:
    """How a function did in the longest pilot trainings that it had in one run."""

    mean: float | None
    """Mean over seeds of the mean team return (undiscounted, per episode) at their end."""
    steps: int
    """Environment steps of each training."""
    seeds: int
    """How many trainings."""


@dataclass(frozen=True)
class Archived:
    """One accepted candidate."""

    id: int
    run_id: int
    round: int
    slot: int
    repair: int
    task: str
    signature: str | None
    igm: str | None
    finite: str | None
    linear_in_q: bool | None
    gate: str
    graph_hash: str
    """Of the gated graph: equal hashes are equal functions."""
    created: float
    """Seconds since the epoch."""
    selected: bool
    """Whether its run took it, or another candidate with its graph."""
    decided: bool
    """Whether the run's pilots tell what it took from all its other functions."""
    pilot: PilotResult | None
    code: str
    report: dict[str, Any]
    """``CheckReport.to_json()``"""


def accepted_candidates(store: Store, task: str) -> list[Archived]:
    """The accepted candidates of a task, those of the newest run first, then by their places.

    What a resumed run superseded is left out.
    """
    with store.database.read() as session:
        query = (
            select(Run.id)
            .where(Run.task == task, Run.kind.in_(("synth", "run")))
            .order_by(Run.id.desc())
        )
        runs = list(session.scalars(query))
    return [found for run_id in runs for found in _of_run(store, run_id, task)]


def tasks_with_candidates(store: Store) -> list[str]:
    """Names of the tasks that have accepted candidates, in order."""
    with store.database.read() as session:
        query = (
            select(Run.task)
            .join(Candidate, Candidate.run_id == Run.id)
            .where(Candidate.verdict == "accepted")
            .distinct()
            .order_by(Run.task)
        )
        return list(session.scalars(query))


def _of_run(store: Store, run_id: int, task: str) -> list[Archived]:
    rows = [c for c in store.synthesis.candidates(run_id) if c.verdict == "accepted"]
    if not rows:
        return []
    pilots = _pilots(store.synthesis.verdicts(run_id))
    chosen = _chosen(store, run_id, rows)
    decided = store.synthesis.decided(run_id)
    return [_archived(row, task, pilots, chosen, decided) for row in rows if row.graph_hash]


def _archived(
    row: Candidate,
    task: str,
    pilots: dict[str, PilotResult],
    chosen: str | None,
    decided: bool,
) -> Archived:
    report = row.report
    assert row.graph_hash is not None
    return Archived(
        id=row.id,
        run_id=row.run_id,
        round=row.round,
        slot=row.slot,
        repair=row.repair,
        task=task,
        signature=report.get("signature"),
        igm=report.get("igm"),
        finite=report.get("finite"),
        linear_in_q=report.get("linear_in_q"),
        gate=str(report.get("gate") or ""),
        graph_hash=row.graph_hash,
        created=row.created,
        selected=row.graph_hash == chosen,
        decided=row.graph_hash == chosen and decided,
        pilot=pilots.get(row.graph_hash),
        code=str(report.get("code") or row.source),
        report=report,
    )


def _chosen(store: Store, run_id: int, rows: Iterable[Candidate]) -> str | None:
    """Graph hash of the last finished round's selection, the best of all rounds so far."""
    finished = [r for r in store.synthesis.rounds(run_id) if r.status == "finished"]
    last = finished[-1].selected_candidate_id if finished else None
    return next((row.graph_hash for row in rows if row.id == last), None)


def _pilots(verdicts: Iterable[Verdict]) -> dict[str, PilotResult]:
    """The longest pilot of each function; halved fields have several."""
    found: dict[str, PilotResult] = {}
    for verdict in verdicts:
        said = verdict.reason
        graph = said.get("graph_hash")
        if verdict.kind != "pilot" or not isinstance(graph, str):
            continue
        steps = int(said.get("steps") or 0)
        if graph not in found or steps > found[graph].steps:
            found[graph] = PilotResult(said.get("final_mean"), steps, len(said.get("seeds") or ()))
    return found
