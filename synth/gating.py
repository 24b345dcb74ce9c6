"""``gate.mode=auto``: whether a task needs monotonicity relaxed, settled by paired pilots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from synth import events
from synth.candidates import Candidate
from synth.events import Emit
from synth.judge import Proposal
from synth.measured import MeasuredEvaluator
from synth.pilot import PilotRequest, PilotScore, relaxed_key
from synth.ranking import difference_in_words

if TYPE_CHECKING:
    from sandbox.config import GateMode
    from sandbox.report import CheckReport

GateCheck = Callable[[str, "GateMode"], "CheckReport"]
"""Judges a whole reply, prose and fences included, under a gate."""


class GateSearch:
    """Decides between ``enforce`` and ``relax`` in the first round that has an accepted function.

    Until then functions are written and checked under a first guess: the evaluator's proposal, or
    ``relax``, under which every function can be written. Then each is checked under the other
    gate, too, and what differs is trained with common seeds. Each function is compared with itself,
    seed by seed: a seed's difference is the mean over the functions, which share it. ``relax`` wins
    only where the interval of the difference over seeds lies above zero, since it costs a guarantee
    that the targets of Q-learning rely on, or where no function can be used under ``enforce``.

    Args:
        check: The sandbox.
        measured: Trains functions briefly, and remembers their scores.
        steps: Environment steps of one of its trainings.
        propose: Asks an evaluator: its proposal, why it has none, or ``None`` if there is no
            evaluator to ask.
    """

    def __init__(
        self,
        check: GateCheck,
        measured: MeasuredEvaluator,
        steps: int,
        propose: Callable[[], Proposal | str | None] = lambda: None,
    ) -> None:
        self._check, self._evaluator, self._steps = check, measured, steps
        self._propose = propose
        self._proposal: Proposal | None = None

    def first_guess(self, emit: Emit) -> GateMode:
        """The gate under which the first functions are written."""
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
            if all(report.accepted for report in both.values()) and not _same(both):
                for mode, report in both.items():
                    name = key if mode == "enforce" else relaxed_key(key)
                    requests.setdefault(str(report.graph_hash), PilotRequest(name, report.graph))
        scores = self._evaluator.train(requests, self._steps, round_, emit)
        mode, reason, found = self._decide(reports, scores)
        evidence = {**self._evidence(reports, scores), "difference": found}
        emit(events.GateSettled(mode, reason, evidence))
        return mode, [replace(c, report=reports[c.key][mode]) for c in candidates]

    def _decide(
        self,
        reports: Mapping[str, Mapping[GateMode, CheckReport]],
        scores: Mapping[str, PilotScore],
    ) -> tuple[GateMode, str, dict[str, Any] | None]:
        """The gate, why, and the difference between the gates where it was measured."""
        usable = {
            mode: [r for r in (both[mode] for both in reports.values()) if _usable(r, scores)]
            for mode in ("relax", "enforce")
        }
        if usable["relax"] and not usable["enforce"]:
            return "relax", "relax: no function could be used under enforce", None
        pairs = [
            (scores[str(both["relax"].graph_hash)], scores[str(both["enforce"].graph_hash)])
            for both in reports.values()
            if not _same(both) and all(_measured(r, scores) for r in both.values())
        ]
        if not pairs:
            return "enforce", "enforce: no function was measured under both gates", None
        by_function = [
            [a - b for a, b in zip(relax.finals, enforce.finals, strict=True)]
            for relax, enforce in pairs
        ]
        by_seed = [fmean(differences) for differences in zip(*by_function, strict=True)]
        mean, ci = fmean(by_seed), self._evaluator.interval(by_seed)
        functions = f"{len(pairs)} function{'' if len(pairs) == 1 else 's'}"
        told = (
            f"relax minus enforce is {difference_in_words(mean, ci, len(by_seed))}, over "
            f"{functions} trained under both"
        )
        found = {"mean": mean, "ci": ci, "seeds": len(by_seed), "functions": len(pairs)}
        if ci is not None and ci[0] > 0:
            return "relax", f"relax: {told}", found
        return "enforce", f"enforce: {told}, which shows no gain", found

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
                row[mode] = None if score is None or score.error else score.final_mean
                if not report.accepted:
                    row[f"{mode}_refused"] = report.rule
            rows.append(row)
        proposal = self._proposal
        return {
            "proposal": None if proposal is None else vars(proposal),
            "scores": rows,
            "steps": self._steps,
        }


def _measured(report: CheckReport, scores: Mapping[str, PilotScore]) -> bool:
    score = scores.get(report.graph_hash or "")
    return report.accepted and score is not None and not score.error


def _usable(report: CheckReport, scores: Mapping[str, PilotScore]) -> bool:
    """Whether it is accepted, and its pilot did not fail where it had one."""
    score = scores.get(report.graph_hash or "")
    return report.accepted and (score is None or not score.error)


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
