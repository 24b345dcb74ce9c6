"""Selection by measurement: short paired trainings, the better half of many trained further."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, log2

from synth import advice
from synth.candidates import Candidate
from synth.evaluator import Judgement, by_place
from synth.events import Emit, Noted, PilotScored, PilotStarted
from synth.pilot import BASELINE_KEY, Pilot, PilotRequest, PilotScore, alike
from synth.ranking import Gap, IntervalOf, Measure, gap

Measurement = tuple[str, int]
"""A graph's hash, or ``BASELINE_KEY``, and the environment steps of its pilot."""


Begin = Callable[[Sequence[PilotRequest], Sequence[int], int], None]
"""Begins the trainings of some functions with some seeds for so many steps."""


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

    The score is the mean over seeds of the mean return in the last evaluation. Where that does not
    tell the best from all others and the area under the curve does, the area ranks. Ties are broken
    by the other of the two, then by the smaller graph, then by the graph's hash, so that the order
    in which candidates arrive never matters. A function is trained once, however often it comes
    back; one whose pilot fails is never selected, and neither is one that was left behind in an
    earlier rung of the halving.

    A selection is decided where the selected function is above every other function that was ever
    measured, each time by an interval of the difference paired by seed that lies above zero, over
    the longest trainings that both had. The runner-up alone would not do: the function nearest in
    the mean need not be the one that is hardest to tell apart.

    Args:
        pilot: Trains functions briefly.
        seeds: Seeds of the pilot trainings, disjoint from those of any comparison.
        steps: Environment steps of one pilot training.
        interval: Of the mean of paired differences.
        baseline: Whether to measure the plain sum of the agents' values, too (once).
        halving: Whether a round of four functions or more is measured by successive halving.
        known: Scores from an interrupted run of the same synthesis, so that they are not measured
            again.
        ahead: Begins trainings that ``pilot`` will be asked for, while replies are still awaited.
    """

    name = "measured"

    def __init__(
        self,
        pilot: Pilot,
        *,
        seeds: Sequence[int],
        steps: int,
        interval: IntervalOf,
        baseline: bool = True,
        halving: bool = True,
        known: Mapping[Measurement, PilotScore] | None = None,
        ahead: Begin | None = None,
    ) -> None:
        if not seeds or len(set(seeds)) != len(seeds):
            raise ValueError(f"pilot seeds {tuple(seeds)}: give at least one, each only once")
        self._pilot, self._seeds, self._steps = pilot, tuple(seeds), steps
        self._baseline, self._halving = baseline, halving
        self.interval = interval
        self._ahead = ahead
        self._scores: dict[Measurement, PilotScore] = dict(known or {})
        self._entered: dict[str, Candidate] = {}
        """Measurements in a call of ``measure``, known scores or not, by graph hash: which
        rung a function reaches depends on its own round alone, also after an interruption."""

    @property
    def pilot_steps(self) -> int:
        """Environment steps behind all scores, those of an interrupted run included."""
        return sum(score.env_steps for score in self._scores.values())

    @property
    def pilot_updates(self) -> int:
        """The fewest gradient updates of a training for all steps; 0 where there was none."""
        whole = [s for (_, steps), s in self._scores.items() if steps == self._steps]
        return min((s.updates for s in whole if not s.error), default=0)

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
        if alike([self.score(c).final_mean for c in ranked]) and len(ranked) > 1:
            emit(Noted("all pilots end alike: their ranking says nothing", "warning"))
        best = ranked[0]
        return Judgement(
            selected=best,
            reason=self.reason(best, field),
            result=self.in_words(best),
            advice=advice.next_step(
                [(c, self.score(c)) for c in ranked], self._short(best), self.decided(best)
            ),
            decided=self.decided(best),
        )

    def reason(self, chosen: Candidate, field: Sequence[Candidate]) -> str:
        """The pilots' reason for a function that leads the ranking of ``field``."""
        ranked = self.ranked(field)
        return advice.reason(
            [(c, self.score(c)) for c in ranked],
            self._leading(chosen),
            self.against_baseline(chosen),
            self._unmatched(chosen),
            self._left_behind(field),
            self._failed(field),
        )

    def decided(self, chosen: Candidate) -> bool:
        """Whether the pilots tell a function from every other one, as the better one."""
        gaps = self._leading(chosen)
        return bool(gaps) and all(g.clear for g in gaps) and not self._unmatched(chosen)

    def _unmatched(self, chosen: Candidate) -> list[str]:
        """Functions without a training as long as one of its own: dropped in another round."""
        steps = {at for h, at in self._scores if h == chosen.graph_hash}
        own = {h: {at for g, at in self._scores if g == h} for h in self._entered}
        fit = [c for c in self._entered.values() if not self._failure(c)]
        return [c.key for c in fit if not own[c.graph_hash] & steps]

    def _leading(self, chosen: Candidate) -> list[Gap]:
        """Against every other function measured so far, the nearest first.

        By final return, or by area where only that tells the function from all others.
        """
        by_return = self._gaps(chosen, "return")
        by_area = self._gaps(chosen, "area")
        for gaps in (by_return, by_area):
            if gaps and all(g.clear for g in gaps):
                return gaps
        return by_return

    def _gaps(self, chosen: Candidate, measure: Measure) -> list[Gap]:
        others = [c for h, c in self._entered.items() if h != chosen.graph_hash]
        gaps = [self._gap(chosen, c.graph_hash, measure, c.key) for c in others]
        return sorted((g for g in gaps if g is not None), key=lambda g: (g.clear, g.mean))

    def against_baseline(self, chosen: Candidate) -> Gap | None:
        """A function against the plain sum, by final return, where both were measured."""
        return self._gap(chosen, BASELINE_KEY, "return", BASELINE_KEY)

    def _short(self, chosen: Candidate) -> bool:
        """Whether the plain sum is clearly above it."""
        found = self.against_baseline(chosen)
        return found is not None and found.ci is not None and found.ci[1] < 0

    def _gap(self, chosen: Candidate, other: str, measure: Measure, key: str) -> Gap | None:
        """Over the longest trainings that both had without failing; ``None`` if there are none."""
        mine = {at for h, at in self._scores if h == chosen.graph_hash}
        for steps in sorted(
            (at for h, at in self._scores if h == other and at in mine), reverse=True
        ):
            one, two = self._scores[chosen.graph_hash, steps], self._scores[other, steps]
            if not one.error and not two.error:
                return gap(one, replace(two, key=key), steps, self.interval, measure)
        return None

    def begin(self, candidate: Candidate, most: int) -> None:
        """Begin the pilots of a function that will be measured, where nothing depends on others.

        Args:
            candidate: accepted, and no duplicate.
            most: functions that the round may have at most; where halving decides how long pilots
                are, nothing is begun.
        """
        whole = len(rungs(most, self._steps, halving=self._halving)) == 1
        if self._ahead is None or not whole or (candidate.graph_hash, self._steps) in self._scores:
            return
        requests = [PilotRequest(candidate.key, candidate.report.graph)]
        if self._baseline and self.baseline is None:
            requests.insert(0, PilotRequest(BASELINE_KEY, None))
        self._ahead(requests, self._seeds, self._steps)

    def measure(self, candidates: Sequence[Candidate], round_: int, emit: Emit) -> None:
        """Train what was not measured yet; a failed training counts as measured."""
        new = [c for c in candidates if c.graph_hash not in self._entered]
        self._entered |= {c.graph_hash: c for c in new}
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
        by_return = sorted(fit, key=lambda c: self._rank(c, self._steps))
        by_area = sorted(fit, key=lambda c: self._rank(c, self._steps, "area"))
        if by_return[:1] != by_area[:1] and not self._tells("return", by_return):
            return by_area if self._tells("area", by_area) else by_return
        return by_return

    def _tells(self, measure: Measure, ranked: Sequence[Candidate]) -> bool:
        """Whether a measure tells the first from every other one."""
        gaps = [self._gap(ranked[0], c.graph_hash, measure, c.key) for c in ranked[1:]]
        return all(g is not None and g.clear for g in gaps)

    def contenders(self, field: Sequence[Candidate]) -> list[Candidate]:
        """The best of those measured, and those that the pilots do not tell from it."""
        ranked = self.ranked(field)
        leads = {g.other for g in self._leading(ranked[0]) if g.clear} if ranked else set()
        return [c for c in ranked if c is ranked[0] or c.key not in leads]

    def score(self, candidate: Candidate) -> PilotScore:
        """The score after all steps.

        Raises:
            KeyError: it was not trained for so long.
        """
        return self._scores[candidate.graph_hash, self._steps]

    def in_words(self, candidate: Candidate) -> str:
        """Measurements of a candidate, with their units; empty where there are none."""
        last = self._last(candidate)
        if last is None or (score := self._scores[candidate.graph_hash, last]).error:
            return ""
        return advice.result(score, self._scores.get((BASELINE_KEY, last)), last)

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

    def _rank(
        self, candidate: Candidate, steps: int, first: Measure = "return"
    ) -> tuple[float, float, int, str]:
        score = self._scores[candidate.graph_hash, steps]
        numbers = -score.final_mean, -score.area_mean
        one, two = numbers if first == "return" else reversed(numbers)
        return (one, two, size_of(candidate), candidate.graph_hash)


def size_of(candidate: Candidate) -> int:
    """Length of a candidate's graph as JSON."""
    graph = candidate.report.graph
    return len(json.dumps(graph.to_json())) if graph is not None else 0
