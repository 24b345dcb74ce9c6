"""Pilot trainings of a search: brief trainings of each function with common seeds.

Successive halving trains a function several times, each time from scratch and longer; what counts
is its longest training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from marl.statistics import Difference, paired_difference
from qllm.store.schema import Verdict
from synth.pilot import BASELINE_KEY, is_relaxed

MOST_CURVES = 8
"""Of a drawing; more would not be distinguishable."""


@dataclass(frozen=True)
class Pilot:
    """Pilot trainings of one function: one for each seed, all of the same length."""

    name: str
    """The candidate's label, or ``vdn`` for the plain sum of the agents' values."""
    function: tuple[object, ...]
    """Equal for the pilots of one function under one gate."""
    candidate_id: int | None
    graph_hash: str | None
    """None for the plain sum."""
    round: int | None
    steps: int
    """Environment steps of each training; 0 where unrecorded."""
    seeds: tuple[int, ...]
    finals: Mapping[int, float]
    """By seed the last evaluation's mean return; empty for a failed pilot."""
    final: float | None
    """Mean over the seeds of the last evaluation's mean return."""
    area: float | None
    """The same of all evaluations after step 0."""
    env_steps: int
    """Environment steps of all its trainings together."""
    updates: int
    """Gradient updates of a training, the minimum over seeds; 0 where unrecorded."""
    curve: tuple[tuple[int, float], ...]
    """(environment steps, mean return over the seeds) of every evaluation."""
    relaxed: bool
    """Whether it was trained under the weaker gate, to decide between the gates."""
    error: str

    @property
    def baseline(self) -> bool:
        """Whether it trained the plain sum."""
        return self.graph_hash is None


def pilots_of(verdicts: Iterable[Verdict], labels: Mapping[int, str] | None = None) -> list[Pilot]:
    """The pilots among a search's verdicts, in their order.

    Args:
        labels: what candidates are called, by their number.
    """
    return [_pilot(v, labels or {}) for v in verdicts if v.kind == "pilot"]


def _pilot(verdict: Verdict, labels: Mapping[int, str]) -> Pilot:
    said, candidate = verdict.said, verdict.candidate_id
    baseline, relaxed = said.graph_hash is None, is_relaxed(said.key)
    name = BASELINE_KEY if baseline else labels.get(candidate or 0, verdict.key[:8])
    seeds = tuple(said.seeds) if isinstance(said.seeds, list) else ()
    written = () if baseline else (candidate, verdict.key.partition("@")[0])
    return Pilot(
        name=f"{name}, gate relaxed" if relaxed else name,
        function=(*written, relaxed),
        candidate_id=candidate,
        graph_hash=said.graph_hash,
        round=verdict.round,
        steps=said.steps,
        seeds=seeds,
        finals=dict(zip(seeds, said.finals, strict=False)),
        final=said.final_mean,
        area=said.area_mean,
        env_steps=said.env_steps,
        updates=said.updates,
        curve=tuple((int(steps), value) for steps, value in said.curve),
        relaxed=relaxed,
        error=said.error,
    )


def longest(pilots: Iterable[Pilot]) -> dict[str, Pilot]:
    """The longest pilot of every function but the plain sum, by its graph's hash."""
    found: dict[str, Pilot] = {}
    for pilot in pilots:
        graph = pilot.graph_hash
        if graph is not None and (graph not in found or pilot.steps >= found[graph].steps):
            found[graph] = pilot
    return found


def difference(mine: Iterable[Pilot], others: Iterable[Pilot]) -> Difference | None:
    """Final returns of one function minus another's, by seed, over the longest that both had."""
    by_steps = {p.steps: p for p in mine}
    for other in sorted(others, key=lambda p: -p.steps):
        own = by_steps.get(other.steps)
        found = own and paired_difference(own.finals, other.finals)
        if found:
            return found
    return None


@dataclass(frozen=True)
class PilotRow:
    """A function in the table of pilots."""

    pilot: Pilot
    """Its longest."""
    env_steps: int
    """Of all its pilots together."""
    selected: bool = False
    dropped: bool = False
    """Whether better functions were trained longer."""
    difference: Difference | None = None
    """The selected function's final return minus this one's, by seed, after the same steps."""

    @property
    def _order(self) -> tuple[bool, int, float, bool]:
        """The longest trained first, of those the best return, the selected before its equals."""
        score = self.pilot.final if self.pilot.final is not None else float("-inf")
        return bool(self.pilot.error), -self.pilot.steps, -score, not self.selected


def pilot_table(
    pilots: Sequence[Pilot], selected: int | None, selected_hash: str | None
) -> tuple[PilotRow, ...]:
    """One row for each function, the longest trained first and of those the best."""
    by_function: dict[tuple[object, ...], list[Pilot]] = {}
    for pilot in pilots:
        by_function.setdefault(pilot.function, []).append(pilot)
    most = max((p.steps for p in pilots), default=0)
    chosen = [p for p in pilots if p.graph_hash == selected_hash is not None]
    rows = []
    for own in by_function.values():
        last = max(own, key=lambda p: p.steps)
        mine = not last.baseline and last.graph_hash == selected_hash
        rows.append(
            PilotRow(
                last,
                sum(p.env_steps for p in own),
                selected=mine and last.steps == most and last.candidate_id == selected,
                dropped=last.steps != most,
                difference=None if last.graph_hash == selected_hash else difference(chosen, own),
            )
        )
    return tuple(sorted(rows, key=lambda row: row._order))


def drawn(rows: Sequence[PilotRow]) -> tuple[Pilot, ...]:
    """The pilots whose curves are drawn: the best of those trained longest, and always the plain
    sum's and the selected one's."""
    whole = [row for row in rows if not row.dropped and row.pilot.curve]
    always = [row for row in whole if row.pilot.baseline or row.selected]
    others = [row for row in whole if row not in always]
    kept = always + others[: max(0, MOST_CURVES - len(always))]
    return tuple(row.pilot for row in whole if row in kept)
