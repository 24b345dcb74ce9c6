"""Adversary: two agents keep a goal covered that an adversary with a fixed policy looks for.

Rules and numbers as in mpe2 1.1.1, simple_adversary_v3 with N=2. Each agent is paid the adversary's
distance to the goal minus that of the nearer agent, so that the team's sum is twice this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marl.envs.mpe.core import Physics
from marl.envs.mpe.layout import Column, Layout
from marl.envs.mpe.opponents import Opponent
from marl.envs.mpe.opposed import OpposedEnv
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard

_AGENTS, _LANDMARKS = 2, 2
_BODIES = _AGENTS + 1  # the adversary is the first
_GOAL = _LANDMARKS  # a third fixed place, where the goal is
_PLACES = _LANDMARKS + 1
_PUSH = 5.0


def view(layout: Layout, body: int) -> list[Column]:
    """A body's columns: landmarks and other bodies; before them the goal, for all but the first."""
    columns = [*layout.to_place(body, _GOAL)] if body else []
    for landmark in range(_LANDMARKS):
        columns += layout.to_place(body, landmark)
    for other in layout.to_others(body):
        columns += other
    return columns


class Adversary(OpposedEnv):
    """Two agents and an adversary; see the module's text. The adversary is the first body."""

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
        *,
        opponent: Opponent,
    ) -> None:
        layout = Layout(bodies=_BODIES, places=_PLACES)
        views = [view(layout, body) for body in (1, 2, 0)]
        physics = Physics(
            layout,
            views=views,
            measured=[layout.to_place(body, _GOAL) for body in range(_BODIES)],
            sizes=None,
            obstacle_size=None,
            pushes=[_PUSH] * _BODIES,
            top_speeds=None,
            device=device,
            dtype=dtype,
        )
        super().__init__(
            card,
            num_envs,
            seed,
            device,
            dtype,
            config,
            physics=physics,
            views=views,
            opponent=opponent,
            opponent_first=True,
        )

    def _start(self, mask: Tensor) -> Tensor:
        luck = self.streams.uniform(2 * (_BODIES + _LANDMARKS) + 1, dtype=self.dtype, mask=mask)
        places = (luck[:, 1:] * 2 - 1).unflatten(1, (-1, 2))
        position, landmarks = places.split([_BODIES, _LANDMARKS], 1)
        first = (luck[:, 0] < 1 / _LANDMARKS)[:, None]
        goal = torch.where(first, landmarks[:, 0], landmarks[:, 1])[:, None]
        still = torch.zeros_like(position)
        return self._physics.row(still, position, torch.cat([landmarks, goal], 1))

    def _reward(self, apart: Tensor) -> Tensor:
        return (apart[:, 0] - apart[:, 1:].amin(1)) * _AGENTS  # of the adversary, of the agents

    def _shares(self, apart: Tensor) -> Tensor:
        return (self._reward(apart) / _AGENTS).unsqueeze(1).expand(-1, _AGENTS)
