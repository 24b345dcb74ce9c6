"""One candidate: what the sandbox found, what is certified, where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qllm.report.data import PropertyFacts
from qllm.store.store import Store
from qllm.tui.reading.search_rows import CandidateRow, candidate_row

MEANING = {
    "shape": "it returns one number for each row of a batch",
    "inputs_untouched": "it leaves its inputs as they are",
    "finite": "q_tot is a finite number",
    "finite_gradient": "its slope in every agent's Q is a finite number",
    "deterministic": "the same inputs give the same q_tot",
    "row_independent": "a row's q_tot does not depend on the other rows of a batch",
    "monotone": "q_tot never falls when an agent's Q rises",
    "greedy_is_best": "each agent's best action is part of the best joint action (IGM)",
    "someone_credited": "some agent's Q matters in some state",
    "every_agent_credited": "every agent's Q matters in some state",
    "state_matters": "the credit depends on the state",
    "unused_columns": "columns that the card calls unused do not matter",
    "slope_scale": "slopes are of a size that training can use",
    "exchangeable": "agents that the card calls exchangeable are treated alike",
    "float_precision": "float32 and float64 agree",
    "outside_ranges": "states a little outside the card's ranges do no harm",
}
"""What each property says, in plain words."""


@dataclass(frozen=True)
class CandidateView:
    """Everything that is shown of a candidate."""

    row: CandidateRow
    run_id: int
    task: str
    model: str
    """Who wrote it."""
    reply: str
    """The whole reply."""
    duplicate_of: str
    """Label of the candidate that computes the same; empty if there is none."""
    corrects: str
    """Label of the rejected reply that it corrects."""
    selected: bool
    decided: bool
    """Whether the pilots tell the selected one from all others."""
    """Whether it is the selection of the last finished round."""
    final_return: float | None
    """In its longest pilot trainings."""
    pilot_steps: int
    properties: tuple[PropertyFacts, ...]
    linear_in_q: bool | None
    weight_bounds: tuple[tuple[float | None, float | None], ...]
    q_bound: float | None
    evidence: float | None
    seed: int
    elapsed_s: float | None
    layers: tuple[tuple[str, str], ...]
    """Isolation layers of the sandbox and whether each was on."""
    train: tuple[str, ...]
    """Words after ``qllm`` that train with it; empty where it was rejected."""

    @property
    def accepted(self) -> bool:
        """Whether the sandbox accepted it."""
        return self.row.verdict != "rejected"


@dataclass(frozen=True)
class CandidateQuery:
    """A candidate by its number."""

    candidate_id: int

    def read(self, store: Store, memory: dict[str, Any]) -> CandidateView:
        """Everything of it, read again only where its row was rewritten.

        Raises:
            StoreError: there is no such candidate.
        """
        found = store.synthesis.candidate(self.candidate_id)
        row = candidate_row(found)
        run = store.runs.get(found.run_id)
        candidates = store.synthesis.candidates(run.id) if self._related(row) else []
        labels = {c.id: candidate_row(c).label for c in candidates}
        done = [r for r in store.synthesis.rounds(run.id) if r.status == "finished"]
        value, steps = _pilot(store, run.id, row.graph_hash)
        report = found.report
        bounds = report.get("weight_bounds") or ()
        gate = ("--gate", "relax") if row.gate == "relax" else ()
        train = ("train", run.task, "--algo", "qllm", "--tfcaf", str(row.id), *gate)
        coder = (run.inputs or {}).get("coder") or {}
        return CandidateView(
            row=row,
            run_id=run.id,
            task=run.task,
            model=str(coder.get("name") or ""),
            reply=found.source,
            duplicate_of=labels.get(row.duplicate_of or 0, ""),
            corrects=labels.get(row.parent_id or 0, ""),
            decided=store.synthesis.decided(run.id),
            selected=bool(done) and done[-1].selected_candidate_id == row.id,
            final_return=value,
            pilot_steps=steps,
            properties=tuple(_property(p) for p in report.get("properties") or ()),
            linear_in_q=report.get("linear_in_q"),
            weight_bounds=tuple((low, high) for low, high in bounds),
            q_bound=report.get("q_bound"),
            evidence=report.get("evidence"),
            seed=int(report.get("seed") or 0),
            elapsed_s=report.get("elapsed_s"),
            layers=tuple((str(k), str(v)) for k, v in (report.get("layers") or {}).items()),
            train=train if row.verdict != "rejected" else (),
        )

    @staticmethod
    def _related(row: CandidateRow) -> bool:
        return row.duplicate_of is not None or row.parent_id is not None


def _property(data: dict[str, Any]) -> PropertyFacts:
    return PropertyFacts(
        name=str(data.get("name")),
        status=str(data.get("status")),
        examples=int(data.get("examples") or 0),
        counterexample=data.get("counterexample"),
        detail=str(data.get("detail") or ""),
    )


def _pilot(store: Store, run_id: int, graph_hash: str | None) -> tuple[float | None, int]:
    """Final return and steps of a function's longest pilot trainings."""
    found = [
        v
        for v in store.synthesis.verdicts(run_id, "pilot")
        if graph_hash is not None and v.reason.get("graph_hash") == graph_hash
    ]
    if not found:
        return None, 0
    longest = max(found, key=lambda v: int(v.reason.get("steps") or 0))
    return longest.reason.get("final_mean"), int(longest.reason.get("steps") or 0)
