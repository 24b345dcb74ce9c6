"""Evaluators: select a candidate at the end of a round and give advice for the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from synth import advice
from synth.candidates import Candidate
from synth.events import Emit


@dataclass(frozen=True)
class Judgement:
    """The end of a round."""

    selected: Candidate | None
    """The best so far: one of this round or the incumbent; ``None`` if no candidate can be used."""
    reason: str
    """Why, in words."""
    result: str = ""
    """Measurements of the selected one, in words; empty where there are none."""
    advice: str = ""
    """One piece of advice for the coder's next round."""
    decided: bool = False
    """Whether measurement tells the selected one from every other function of the search."""


class Evaluator(Protocol):
    """Selects among accepted candidates."""

    @property
    def name(self) -> str:
        """The user's name for it."""
        ...

    @property
    def pilot_steps(self) -> int:
        """Environment steps spent on measuring so far; 0 for one that does not measure."""
        ...

    @property
    def pilot_updates(self) -> int:
        """Gradient updates of one pilot training; 0 for one that does not measure."""
        ...

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
        lessons: str = "",
    ) -> Judgement:
        """Select the best of this round's candidates and the incumbent.

        Args:
            candidates: Accepted in this round, no two with the same graph, none that was judged
                before. The judgement does not depend on their order.
            incumbent: What earlier rounds selected.
            round_: Number of the round, from 0.
            emit: Told what happens meanwhile.
            lessons: What was refused in this round and why, in words.

        Raises:
            synth.control.Interrupted: it was told to stop.
        """
        ...


def by_place(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates in the order of round, slot and correction."""
    return sorted(candidates, key=lambda c: (c.round, c.slot, c.repair))


class FirstAccepted:
    """Takes the accepted candidate of the lowest slot: no measurement, no claim of merit."""

    name = "first"
    pilot_steps = 0
    pilot_updates = 0

    def judge(
        self,
        candidates: Sequence[Candidate],
        incumbent: Candidate | None,
        *,
        round_: int,
        emit: Emit,
        lessons: str = "",
    ) -> Judgement:
        """The lowest slot of this round, or the incumbent if the round brought nothing new."""
        if candidates:
            chosen = by_place(candidates)[0]
            reason = f"{chosen.key} is the first accepted candidate of the round (nothing measured)"
            return Judgement(chosen, reason, advice=advice.UNMEASURED)
        if incumbent is not None:
            reason = f"the round brought no new function, so {incumbent.key} stays"
            return Judgement(incumbent, reason, advice=advice.UNMEASURED)
        return Judgement(None, "the round brought no accepted candidate")
