"""Selection by measurement: short paired trainings, the better half of many trained further."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil, log2

from synth import advice
from synth.candidates import Candidate
from synth.evaluator import Judgement, by_place
from synth.events import Emit, PilotScored, PilotStarted
from synth.pilot import BASELINE_KEY, Pilot, PilotRequest, PilotScore

Measurement = tuple[str, int]
"""Whose score (a graph's hash, or ``BASELINE_KEY``) after how many environment steps."""


def rungs(count: int, steps: int, *, halving: bool = True) -> tuple[int, ...]:
    """Environment steps of the successive trainings of ``count`` functions, the last being all.

    Every rung trains from scratch, and only the better half goes on to the next (Jamieson and
    Talwalkar 2016, successive halving with eta = 2). The last rung is left to two to four
    functions, so below four there is only one.
    """
    more = max(0, int(log2(count)) - 1) if halving and count else 0
    return tuple(max(1, steps // 2 ** (more - i)) for i in range(more + 1))


class MeasuredEvaluator:
    """Selects by short paired trainings: the same seeds and steps for every function.

    The score is the interquartile mean of the final evaluation's returns. Ties are broken by the
    best mean on the curve, then by the smaller graph, then by the graph's hash, so that the order
    in which candidates arrive never matters. A function is trained once, however often it comes
    back; one whose pilot fails is never selected, and neither is one that was left behind in an
    earlier rung of the halving.

    Args:
        pilot: Trains functions briefly.
        seeds: Seeds of the pilot trainings, disjoint from those of any comparison.
        steps: Environment steps of one pilot training.
        baseline: Whether to measure the plain sum of the agents' values, too (once).
        halving: Whether a round of four functions or more is measured by successive halving.
        known: Scores from an interrupted run of the same synthesis, so that they are not measured
            again.
    """

    name = "measured"

    def __init__(
        self,
        pilot: Pilot,
        *,
        seeds: Sequence[int],
        steps: int,
        baseline: bool = True,
        halving: bool = True,
        known: Mapping[Measurement, PilotScore] | None = None,
    ) -> None:
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"pilot seeds {tuple(seeds)}: give at least one, each only once")
        self._pilot, self._seeds, self._steps = pilot, tuple(seeds), steps
        self._baseline, self._halving = baseline, halving
        self._scores: dict[Measurement, PilotScore] = dict(known or {})
        self._entered: set[str] = set()
        """Graph hashes that were measured in a call of ``measure``, known scores or not: which rung
        a function reaches depends on its own round alone, also after an interruption."""

    @property
    def pilot_steps(self) -> int:
        """Environment steps behind all scores, those of an interrupted run included."""
        return sum(score.env_steps for score in self._scores.values())

    @property
    def baseline(self) -> PilotScore | None:
        """The plain sum's score, where it was measured."""
        return self._scores.get((BASELINE_KEY, self._steps))

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
        lessons: str = "",
    ) -> Judgement:
        """Measure what is new, then rank everything of this round and the incumbent."""
        field = by_place(candidates) + ([incumbent] if incumbent is not None else [])
        if not field:
            return Judgement(None, "the round brought no accepted candidate")
        self.measure(field, round_, emit)
        ranked = self.ranked(field)
        if not ranked:
            failures = "; ".join(f"{c.key}: {self._failure(c)}" for c in field)
            return Judgement(None, f"every pilot training failed ({failures})")
        scored = [(c, self.score(c)) for c in ranked]
        reason = advice.reason(scored, self._left_behind(field), self._failed(field), self.baseline)
        return Judgement(
            selected=ranked[0],
            reason=reason,
            result=self.in_words(ranked[0]),
            advice=advice.next_step(scored, self.baseline),
        )

    def measure(self, candidates: Sequence[Candidate], round_: int, emit: Emit) -> None:
        """Train what was not measured yet; a failed training counts as measured."""
        new = [c for c in candidates if c.graph_hash not in self._entered]
        self._entered |= {c.graph_hash for c in new}
        trainings = rungs(len(new), self._steps, halving=self._halving)
        for at, steps in enumerate(trainings):
            requests = {c.graph_hash: PilotRequest(c.key, c.report.graph) for c in new}
            if new and steps == self._steps and self._baseline and self.baseline is None:
                requests = {BASELINE_KEY: PilotRequest(BASELINE_KEY, None), **requests}
            self.train(requests, steps, round_, emit)
            if at < len(trainings) - 1:
                fit = [c for c in new if not self._scores[c.graph_hash, steps].error]
                best = sorted(fit, key=lambda c: self._rank(c, steps))
                new = by_place(best[: ceil(len(new) / 2)])

    def train(
        self, requests: Mapping[str, PilotRequest], steps: int, round_: int, emit: Emit
    ) -> dict[str, PilotScore]:
        """The scores after so many steps, by graph hash; only what is not known is trained."""
        missing = {h: r for h, r in requests.items() if (h, steps) not in self._scores}
        if missing:
            keys = tuple(r.key for r in missing.values())
            emit(PilotStarted(round_, keys, self._seeds, steps))
            scores = self._pilot(list(missing.values()), self._seeds, steps)
            if [s.key for s in scores] != list(keys):
                told = [s.key for s in scores]
                raise ValueError(f"the pilot was asked for {keys} and scored {told}")
            for name, score in zip(missing, scores, strict=True):
                self._scores[name, steps] = score
                emit(PilotScored(round_, score.key, None if name == BASELINE_KEY else name, score))
        return {name: self._scores[name, steps] for name in requests}

    def ranked(self, field: Sequence[Candidate]) -> list[Candidate]:
        """Those that were trained for all steps without failing, best first."""
        whole = [c for c in field if (c.graph_hash, self._steps) in self._scores]
        fit = [c for c in whole if not self.score(c).error]
        return sorted(fit, key=lambda c: self._rank(c, self._steps))

    def alike(self, field: Sequence[Candidate]) -> list[Candidate]:
        """The best of those measured, and those that measure like it."""
        return advice.alike([(c, self.score(c)) for c in self.ranked(field)])

    def score(self, candidate: Candidate) -> PilotScore:
        """The score after all steps.

        Raises:
            KeyError: it was not trained for so long.
        """
        return self._scores[candidate.graph_hash, self._steps]

    def in_words(self, candidate: Candidate) -> str:
        """What was measured of a candidate, with its units; empty where nothing was."""
        last = self._last(candidate)
        if last is None or (score := self._scores[candidate.graph_hash, last]).error:
            return ""
        baseline = self.baseline if last == self._steps else None
        return advice.result(score, baseline, last, len(self._seeds))

    def _last(self, candidate: Candidate) -> int | None:
        """The most steps for which there is a score."""
        return max((s for h, s in self._scores if h == candidate.graph_hash), default=None)

    def _failure(self, candidate: Candidate) -> str:
        last = self._last(candidate)
        return "" if last is None else self._scores[candidate.graph_hash, last].error

    def _failed(self, field: Sequence[Candidate]) -> list[tuple[Candidate, str]]:
        return [(c, error) for c in field if (error := self._failure(c))]

    def _left_behind(self, field: Sequence[Candidate]) -> list[tuple[Candidate, PilotScore, int]]:
        """Those that the halving dropped, with their scores and steps."""
        out = []
        for candidate in field:
            last = self._last(candidate)
            if last is not None and last < self._steps and not self._failure(candidate):
                out.append((candidate, self._scores[candidate.graph_hash, last], last))
        return out

    def _rank(self, candidate: Candidate, steps: int) -> tuple[float, float, int, str]:
        final, _, best = self._scores[candidate.graph_hash, steps].numbers()
        graph = candidate.report.graph
        size = len(json.dumps(graph.to_json())) if graph is not None else 0
        return (-final, -best, size, candidate.graph_hash)
