"""``gate.mode=auto``: whether a task needs monotonicity relaxed, settled by paired pilots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synth import events
from synth.candidates import Candidate
from synth.events import Emit
from synth.judge import Proposal
from synth.measured import MeasuredEvaluator
from synth.pilot import PilotRequest, PilotScore, relaxed_key

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from sandbox.report import CheckReport

GateCheck = Callable[[str, "GateMode"], "CheckReport"]
"""Judges a whole reply, prose and fences included, under a gate."""

_CLEARLY = 0.02
"""Relaxing has to gain more than this share of the larger score, since it costs a guarantee."""


class GateSearch:
    """Decides between ``enforce`` and ``relax`` in the first round that has an accepted function.

    Until then functions are written and checked under a first guess: the evaluator's proposal, or
    ``relax``, under which every function can be written. Then each is checked under the other
    gate, too, and what differs is trained with common seeds. ``relax`` wins where its best function
    ends clearly above the best under ``enforce``; a tie goes to the proposal, or to ``enforce``.

    Args:
        check: The sandbox.
        gauge: Trains functions briefly, and remembers their scores.
        steps: Environment steps of one of its trainings.
        propose: Asks an evaluator: its proposal, why it has none, or ``None`` if there is no
            evaluator to ask.
    """

    def __init__(
        self,
        check: GateCheck,
        gauge: MeasuredEvaluator,
        steps: int,
        propose: Callable[[], Proposal | str | None] = lambda: None,
    ) -> None:
        self._check, self._gauge, self._steps = check, gauge, steps
        self._propose = propose
        self._proposal: Proposal | None = None

    def first_guess(self, emit: Emit) -> GateMode:
        """What the first functions are written under."""
        answer = self._propose()
        if isinstance(answer, str):
            emit(events.Noted(f"no proposal for the gate: {answer}", "warning"))
        elif answer is not None:
            self._proposal = answer
            emit(events.Noted(f"gate: {answer.model} proposes {answer.mode}: {answer.reason}"))
        return self._proposal.mode if self._proposal else "relax"

    def settle(
        self, candidates: Sequence[Candidate], guess: GateMode, round_: int, emit: Emit
    ) -> tuple[GateMode, list[Candidate]]:
        """The decision, and the candidates as they are under it (accepted there or not).

        Args:
            candidates: Accepted under ``guess``, no two with the same graph, at least one.
            guess: What they were checked under.
            round_: Number of the round.
            emit: Told the decision and its evidence.
        """
        other: GateMode = "relax" if guess == "enforce" else "enforce"
        reports: dict[str, dict[GateMode, CheckReport]] = {
            c.key: {guess: c.report, other: self._check(c.source, other)} for c in candidates
        }
        requests: dict[str, PilotRequest] = {}
        for key, both in reports.items():
            for mode, report in both.items():
                if report.accepted and not (mode == "relax" and _same(both)):
                    assert report.graph_hash is not None
                    name = key if mode == "enforce" else relaxed_key(key)
                    requests.setdefault(report.graph_hash, PilotRequest(name, report.graph))
        differing = [key for key, both in reports.items() if not _same(both)]
        scores = self._gauge.train(requests, self._steps, round_, emit) if differing else {}
        mode, reason = self._decide(reports, scores, bool(differing))
        emit(events.GateSettled(mode, reason, self._evidence(reports, scores)))
        return mode, [replace(c, report=reports[c.key][mode]) for c in candidates]

    def _decide(
        self,
        reports: Mapping[str, Mapping[GateMode, CheckReport]],
        scores: Mapping[str, PilotScore],
        differing: bool,
    ) -> tuple[GateMode, str]:
        guess: GateMode = self._proposal.mode if self._proposal else "enforce"
        by = "as the evaluator proposed" if self._proposal else "the safe choice"
        if not differing:
            return guess, f"{guess}, {by}: no function is another one under the other gate"
        best: dict[GateMode, float] = {}
        for both in reports.values():
            for mode, report in both.items():
                shared = both["enforce"] if _same(both) else report
                score = scores.get(shared.graph_hash or "")
                if score is not None and score.final_iqm is not None:
                    best[mode] = max(best.get(mode, score.final_iqm), score.final_iqm)
        if len(best) < 2:
            if not best:
                return guess, f"{guess}, {by}: every pilot training failed"
            mode = next(iter(best))
            return mode, f"{mode}: no function could be used under the other gate"
        relax, enforce = best["relax"], best["enforce"]
        told = (
            f"the best function ends at {relax:.4g} under relax and at {enforce:.4g} under enforce"
        )
        margin = _CLEARLY * max(abs(relax), abs(enforce))
        if abs(relax - enforce) <= margin:
            return guess, f"{guess}, {by}: {told}, which is no difference"
        return ("relax" if relax > enforce else "enforce"), told

    def _evidence(
        self,
        reports: Mapping[str, Mapping[GateMode, CheckReport]],
        scores: Mapping[str, PilotScore],
    ) -> dict[str, Any]:
        rows = []
        for key, both in reports.items():
            row: dict[str, Any] = {"candidate": key, "same": _same(both)}
            for mode, report in both.items():
                graph_hash = both["enforce"].graph_hash if row["same"] else report.graph_hash
                score = scores.get(graph_hash or "")
                row[mode] = None if score is None else score.final_iqm
                if not report.accepted:
                    row[f"{mode}_refused"] = report.rule
            rows.append(row)
        proposal = self._proposal
        return {
            "proposal": None if proposal is None else vars(proposal),
            "scores": rows,
            "steps": self._steps,
        }


def _same(both: Mapping[GateMode, CheckReport]) -> bool:
    """Whether the function is the same under both gates, so that nothing need be measured."""
    enforce, relax = both["enforce"], both["relax"]
    if not (enforce.accepted and relax.accepted):
        return False
    if enforce.graph_hash == relax.graph_hash or enforce.signature == "mixing":
        return True  # in mixing form the gate repairs nothing
    gate = enforce.graph.gate if enforce.graph is not None else None
    keeps = gate is not None and gate.function in ("abs", "relu")
    return keeps and all(low >= 0 for low, _ in relax.weight_bounds or ((-1.0, 0.0),))
