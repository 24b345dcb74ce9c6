"""An episode as it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from prompts.cards import TaskCard


@dataclass(frozen=True)
class Played:
    """One episode; T steps, n agents, s state columns."""

    card: TaskCard
    title: str
    states: Sequence[Sequence[float]]
    """``[T + 1][s]``: before each step, and at the end."""
    actions: Sequence[Sequence[int]]
    """``[T][n]``"""
    rewards: Sequence[float]
    """``[T]``, the team's."""
    weights: Sequence[Sequence[float]] | None
    """``[T][n]``: d q_tot / d Q_i, each agent's credit; None where nothing gives any."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rewards)

    def parts(self, t: int) -> dict[str, Sequence[float]]:
        """The state at moment t by the names of the card's slices."""
        state = self.states[t]
        return {s.name: state[at : at + s.size] for s, at in self.card.offsets()}

    def action(self, t: int, agent: int) -> str:
        """What an agent does at moment t, in words; nothing at the end."""
        return self.card.action_names[self.actions[t][agent]] if t < self.steps else ""

    def weight(self, t: int, agent: int) -> float | None:
        """An agent's credit at moment t, as far as there is any."""
        return self.weights[t][agent] if self.weights is not None and t < self.steps else None

    def share(self, t: int, agent: int) -> float:
        """The same as a part of the episode's largest, from -1 to 1; 0 where there is none."""
        weight = self.weight(t, agent)
        return weight / self._largest if weight is not None and math.isfinite(weight) else 0.0

    @cached_property
    def _largest(self) -> float:
        sizes = (abs(w) for row in self.weights or () for w in row if math.isfinite(w))
        return max(sizes, default=0.0) or 1.0
