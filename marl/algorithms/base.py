"""What an algorithm of the value-decomposition family is: a mixer between agents and team."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from marl.settings import Settings
from prompts.cards import TaskCard


class AlgorithmSettings(Settings):
    """What every algorithm may set for itself, where it is not to learn like the others."""

    lr: float | None = Field(
        default=None, gt=0, description="`learner.lr` of this algorithm alone; null takes that"
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="`learner.batch_size` of this algorithm alone"
    )
    num_envs: int | None = Field(
        default=None, ge=1, le=65_536, description="`env.num_envs` of this algorithm alone"
    )
    gamma: float | None = Field(
        default=None, gt=0, le=1, description="`learner.gamma` of this algorithm alone"
    )


@dataclass(frozen=True)
class TaskSizes:
    """The sizes that a mixer is built for.

    Attributes:
        n_agents, n_actions, state_dim: as in the card.
        agent_columns: for each agent, the state columns that are about that agent, equally many
            for all and in the same order; empty where the state has no such columns.
    """

    n_agents: int
    n_actions: int
    state_dim: int
    agent_columns: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, card: TaskCard) -> TaskSizes:
        """The sizes of a task."""
        return cls(card.n_agents, card.n_actions, card.state_dim, _agent_columns(card))


def _agent_columns(card: TaskCard) -> tuple[tuple[int, ...], ...]:
    """The columns of each agent: those of slices that every agent has one of (`by_agent`), and its
    place along the agent axis of slices that are about all agents; unused columns left out."""
    columns: list[list[int]] = [[] for _ in range(card.n_agents)]
    unused = {at for s, at in card.offsets() if s.unused}
    for field in card.by_agent().values():
        if all(part.start in unused for part in field):
            continue
        for mine, part in zip(columns, field, strict=True):
            mine += part
    for s, at in card.offsets():
        if s.agent_axis is None or s.unused:
            continue
        for column in range(at, at + s.size):
            columns[card.column(column)[1][s.agent_axis]].append(column)
    return tuple(map(tuple, columns)) if columns[0] else ()


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
        return action_qs.masked_fill(~avail, -float("inf")).argmax(-1)

    def make_target(self) -> Mixer:
        """The mixer of the target network: a frozen copy."""
        return copy.deepcopy(self).requires_grad_(False)
