"""What an algorithm of the value-decomposition family is: a mixer between agents and team."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from prompts.cards import TaskCard


@dataclass(frozen=True)
class TaskSizes:
    """The sizes that a mixer is built for."""

    n_agents: int
    n_actions: int
    state_dim: int

    @classmethod
    def of(cls, card: TaskCard) -> TaskSizes:
        """The sizes of a task."""
        return cls(card.n_agents, card.n_actions, card.state_dim)


class Mixer(nn.Module, ABC):
    """q_tot as a function of the agents' Q-values and the state. N rows, n agents, a actions."""

    @abstractmethod
    def forward(self, agent_qs: Tensor, state: Tensor) -> Tensor:
        """The team's value.

        Args:
            agent_qs: ``[N, n]``, each agent's Q-value of the action it takes.
            state: ``[N, state_dim]``.

        Returns:
            q_tot ``[N, 1]``.
        """

    def greedy_actions(self, action_qs: Tensor, avail: Tensor, state: Tensor) -> Tensor:
        """The joint action that targets evaluate: here each agent's own best available one.

        Where q_tot is monotone in every agent's Q (individual-global-max) this maximises q_tot.

        Args:
            action_qs: ``[N, n, a]``, all Q-values of all agents.
            avail: bool ``[N, n, a]``.
            state: ``[N, state_dim]``.

        Returns:
            int64 ``[N, n]``.
        """
        return action_qs.masked_fill(~avail, -float("inf")).argmax(-1)

    def make_target(self) -> Mixer:
        """The mixer of the target network: a frozen copy."""
        return copy.deepcopy(self).requires_grad_(False)
