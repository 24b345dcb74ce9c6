"""An episode and the credit weights along it, as plain records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SliceTrace:
    """A slice of the state over an episode, as far as the function depends on it."""

    name: str
    """As the task card has it."""
    title: str
    subtitle: str
    """What it is called beside its lane, in two short lines."""
    columns: tuple[str, ...]
    """Short names of the columns shown, in the card's order."""
    values: tuple[tuple[float, ...], ...]
    """``[k][T]``: for each column, its value at each step."""
    influence: float
    """Mean change of the agents' weights (of the bias, where no weight depends on the state) when
    the slice's columns get other values of their range; the unit is that of the weights."""
    left_out: int = 0
    """Columns of the slice that matter less and are not shown."""


@dataclass(frozen=True)
class CreditEpisode:
    """Credit weights and the agents' actions; T steps, n agents."""

    task: str
    function: str
    """Where the function came from, in words."""
    policy: str
    """The policy that acted, in words."""
    action_names: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    """``[n][T]``: d q_tot / d Q_i at the state in which the step was taken."""
    actions: tuple[tuple[int, ...], ...]
    """``[n][T]``"""
    rewards: tuple[float, ...]
    """``[T]``, the team's"""
    agent_qs: tuple[tuple[float, ...], ...]
    """``[n][T]``: the agents' values at which the weights were taken."""
    linear_in_q: bool
    """Whether the weights are the same whatever the agents' values are."""
    slices: tuple[SliceTrace, ...]
    seed: int

    @property
    def steps(self) -> int:
        return len(self.rewards)

    @property
    def team_return(self) -> float:
        """The undiscounted sum of the rewards."""
        return sum(self.rewards)
