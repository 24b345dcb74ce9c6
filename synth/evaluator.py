"""Evaluators: who selects a candidate at the end of a round, and says what to try next."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from synth import advice
from synth.candidates import Candidate
from synth.events import Emit, PilotScored, PilotStarted
from synth.pilot import BASELINE_KEY, Pilot, PilotRequest, PilotScore


@dataclass(frozen=True)
class Judgement:
    """The end of a round."""

    selected: Candidate | None
    """The best so far: one of this round or the incumbent; ``None`` if no candidate can be used."""
    reason: str
    """Why, in words."""
    result: str = ""
    """What was measured of the selected one, in words; empty where nothing was."""
    advice: str = ""
    """One piece of advice for the coder's next round."""


class Evaluator(Protocol):
    """Selects among accepted candidates."""

    @property
    def name(self) -> str:
        """How a user refers to it."""
        ...

    @property
    def pilot_steps(self) -> int:
        """Environment steps spent on measuring so far; 0 for one that does not measure."""
        ...

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
    ) -> Judgement:
        """Select the best of this round's candidates and the incumbent.

        Args:
            candidates: Accepted in this round, no two with the same graph, none that was judged
                before. The judgement does not depend on their order.
            incumbent: What earlier rounds selected.
            round_: Number of the round, from 0.
            emit: Told what happens meanwhile.

        Raises:
            synth.control.Interrupted: it was told to stop.
        """
        ...


class FirstAccepted:
    """Takes the accepted candidate of the lowest slot: no measurement, no claim of merit."""

    name = "first"
    pilot_steps = 0

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
    ) -> Judgement:
        """The lowest slot of this round, or the incumbent if the round brought nothing new."""
        if candidates:
            chosen = min(candidates, key=lambda c: (c.round, c.slot, c.repair))
            reason = f"{chosen.key} is the first accepted candidate of the round (nothing measured)"
            return Judgement(chosen, reason, advice=advice.UNMEASURED)
        if incumbent is not None:
            reason = f"the round brought no new function, so {incumbent.key} stays"
            return Judgement(incumbent, reason, advice=advice.UNMEASURED)
        return Judgement(None, "the round brought no accepted candidate")


class MeasuredEvaluator:
    """Selects by short paired trainings: the same seeds and steps for every function.

    The score is the interquartile mean of the final evaluation's returns. Ties are broken by the
    best mean on the curve, then by the smaller graph, then by the graph's hash, so that the order
    in which candidates arrive never matters. A function is trained once, however often it comes
    back; one whose pilot fails is never selected.

    Args:
        pilot: Trains functions briefly.
        seeds: Seeds of the pilot trainings, disjoint from those of any comparison.
        steps: Environment steps of one pilot training.
        baseline: Whether to measure the plain sum of the agents' values, too (once).
        known: Scores from an interrupted run of the same synthesis, by graph hash (the plain sum's
            under ``BASELINE_KEY``), so that they are not measured again.
    """

    name = "measured"

    def __init__(
        self,
        pilot: Pilot,
        *,
        seeds: Sequence[int],
        steps: int,
        baseline: bool = True,
        known: Mapping[str, PilotScore] | None = None,
    ) -> None:
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"pilot seeds {tuple(seeds)}: give at least one, each only once")
        self._pilot, self._seeds, self._steps = pilot, tuple(seeds), steps
        self._baseline = baseline
        self._scores: dict[str, PilotScore] = dict(known or {})

    @property
    def pilot_steps(self) -> int:
        """Environment steps behind all scores, those of an interrupted run included."""
        return sum(score.env_steps for score in self._scores.values())

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
    ) -> Judgement:
        """Measure what is new, then rank everything of this round and the incumbent."""
        entrants = sorted(candidates, key=lambda c: (c.round, c.slot, c.repair))
        if not entrants and incumbent is None:
            return Judgement(None, "the round brought no accepted candidate")
        self._measure(entrants, round_, emit)
        field = entrants if incumbent is None else [*entrants, incumbent]
        ranked = sorted((c for c in field if not self._score(c).error), key=self._rank)
        if not ranked:
            failures = "; ".join(f"{c.key}: {self._score(c).error}" for c in field)
            return Judgement(None, f"every pilot training failed ({failures})")
        baseline = self._scores.get(BASELINE_KEY)
        scored = [(c, self._score(c)) for c in ranked]
        failed = [(c, self._score(c)) for c in field if self._score(c).error]
        return Judgement(
            selected=ranked[0],
            reason=advice.reason(scored, failed, baseline),
            result=advice.result(scored[0][1], baseline, self._steps, len(self._seeds)),
            advice=advice.next_step(scored, baseline),
        )

    def _score(self, candidate: Candidate) -> PilotScore:
        return self._scores[candidate.graph_hash]

    def _rank(self, candidate: Candidate) -> tuple[float, float, int, str]:
        final, _, best = self._score(candidate).numbers()
        graph = candidate.report.graph
        size = len(json.dumps(graph.to_json())) if graph is not None else 0
        return (-final, -best, size, candidate.graph_hash)

    def _measure(self, candidates: Sequence[Candidate], round_: int, emit: Emit) -> None:
        new = [c for c in candidates if c.graph_hash not in self._scores]
        requests = [PilotRequest(c.key, c.report.graph) for c in new]
        hashes: list[str | None] = [c.graph_hash for c in new]
        if new and self._baseline and BASELINE_KEY not in self._scores:
            requests.insert(0, PilotRequest(BASELINE_KEY, None))
            hashes.insert(0, None)
        if not requests:
            return
        keys = tuple(r.key for r in requests)
        emit(PilotStarted(round_, keys, self._seeds, self._steps))
        scores = self._pilot(requests, self._seeds, self._steps)
        if [s.key for s in scores] != list(keys):
            raise ValueError(f"the pilot was asked for {keys} and scored {[s.key for s in scores]}")
        for graph_hash, score in zip(hashes, scores, strict=True):
            self._scores[graph_hash or BASELINE_KEY] = score
            emit(PilotScored(round_, score.key, graph_hash, score))
