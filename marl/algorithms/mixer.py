"""What stands between the agents' values and the team's."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from marl.policies import greedy_actions


class Choice(NamedTuple):
    """What a mixer that looks beyond the chosen Q-values is told (``uses_choice``).

    Attributes:
        best_qs: ``[N, n]``, each agent's largest Q-value over its available actions, of the same
            network as ``agent_qs`` and not detached.
        actions: int64 ``[N, n]``, the joint action whose value is asked.
    """

    best_qs: Tensor
    actions: Tensor


class Mixer(nn.Module, ABC):
    """q_tot as a function of the agents' Q-values and the state. N rows, n agents, a actions.

    Attributes:
        uses_choice: whether `forward` needs ``choice``.
        per_agent: whether `forward` returns a value for each agent in the team's place; each is
            then regressed on the team's reward plus its own next value.
    """

    uses_choice: ClassVar[bool] = False
    per_agent: ClassVar[bool] = False

    @abstractmethod
    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        """The team's value.

        Args:
            agent_qs: ``[N, n]``, each agent's Q-value of the action it takes.
            state: ``[N, state_dim]``.
            choice: the joint action and what the agents could have had at best; given to mixers
                with ``uses_choice``.

        Returns:
            q_tot ``[N, 1]``; ``[N, n]`` of a mixer that is ``per_agent``.
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
        return greedy_actions(action_qs, avail)

    def make_target(self) -> Mixer:
        """The mixer of the target network: a frozen copy."""
        return copy.deepcopy(self).requires_grad_(False)
