"""Tag: three predators, the agents, chase a prey that follows a fixed policy.

Rules and numbers as in mpe2 1.1.1, simple_tag_v3, without its shaped rewards, which are off there
too. Each predator is paid 10 for every predator that touches the prey, so that the team's sum is
30 for each of them. What the reference pays the prey plays no part.
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

_PREDATORS, _OBSTACLES = 3, 2
_PREY = _PREDATORS  # the last body
_SIZES = [0.075] * _PREDATORS + [0.05]
_OBSTACLE_SIZE = 0.2
_PUSHES = [3.0] * _PREDATORS + [4.0]
_TOP_SPEEDS = [1.0] * _PREDATORS + [1.3]
_OBSTACLES_WITHIN = 0.9
_PAID = 10.0


def view(layout: Layout, body: int) -> list[Column]:
    """A body's columns: velocity, position, obstacles, other bodies, and the prey's velocity."""
    columns = [*layout.velocity(body), *layout.position(body)]
    for obstacle in range(layout.places):
        columns += layout.to_place(body, obstacle)
    for other in layout.to_others(body):
        columns += other
    if body != _PREY:
        columns += layout.velocity(_PREY)
    return columns


class Tag(OpposedEnv):
    """Predators and prey; see the module's text. The prey is the last body."""

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
        layout = Layout(bodies=_PREDATORS + 1, places=_OBSTACLES)
        views = [view(layout, body) for body in range(layout.bodies)]
        physics = Physics(
            layout,
            views=views,
            measured=[],
            sizes=_SIZES,
            obstacle_size=_OBSTACLE_SIZE,
            pushes=_PUSHES,
            top_speeds=_TOP_SPEEDS,
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
            opponent_first=False,
        )
        self._touching = _SIZES[0] + _SIZES[_PREY]

    def _start(self, mask: Tensor) -> Tensor:
        m = _PREDATORS + 1
        places = self.streams.uniform(m + _OBSTACLES, 2, dtype=self.dtype, mask=mask) * 2 - 1
        position, obstacles = places.split([m, _OBSTACLES], 1)
        still = torch.zeros_like(position)
        return self._physics.row(still, position, obstacles * _OBSTACLES_WITHIN)

    def _reward(self, apart: Tensor) -> Tensor:
        # The last relations are those of the prey, which is the last body, to the predators.
        touches = (apart[:, -_PREDATORS:] < self._touching).sum(1, dtype=self.dtype)
        return touches * (_PAID * _PREDATORS)

    def _shares(self, apart: Tensor) -> Tensor:
        return (self._reward(apart) / _PREDATORS).unsqueeze(1).expand(-1, _PREDATORS)
