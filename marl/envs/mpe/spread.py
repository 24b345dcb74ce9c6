"""Spread: n agents cover n landmarks without bumping into each other.

Rules and numbers as in mpe2 1.1.1, simple_spread_v3. The team's reward is the sum of the agents',
which with local_ratio r is

    -n (1 - r) sum_l min_i |p_i - p_l|  -  2 r (number of pairs that touch).
"""

from __future__ import annotations

import torch
from torch import Tensor

from marl.envs.config import EnvConfig
from marl.envs.mpe.core import Layout, Physics
from marl.envs.mpe.env import ParticleEnv
from prompts.cards import TaskCard

_SIZE = 0.15
_PUSH = 5.0


def views(layout: Layout) -> list[list[int]]:
    """Each agent's columns: velocity, position, landmarks, others, and their silent messages."""
    seen = []
    for i in range(layout.bodies):
        others = [j for j in range(layout.bodies) if j != i]
        columns = [*layout.velocity(i), *layout.position(i)]
        for landmark in range(layout.places):
            columns += layout.to_place(i, landmark)
        for j in others:
            columns += layout.to_body(i, j)
        columns += layout.zero * (2 * len(others))
        seen.append(columns)
    return seen


class Spread(ParticleEnv):
    """Cooperative navigation; see the module's text.

    Args:
        local_ratio: weight of the contacts; distances weigh one minus this.
    """

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
        *,
        n: int,
        local_ratio: float,
    ) -> None:
        layout = Layout(bodies=n, places=n)
        physics = Physics(
            layout,
            sizes=[_SIZE] * n,
            place_size=None,
            pushes=[_PUSH] * n,
            top_speeds=None,
            device=device,
            dtype=dtype,
        )
        super().__init__(
            card, num_envs, seed, device, dtype, config, physics=physics, views=views(layout)
        )
        self._far, self._touch = -n * (1.0 - local_ratio), -local_ratio

    def _start(self, mask: Tensor) -> Tensor:
        n = self.n_agents
        places = self.streams.uniform(2 * n, 2, dtype=self.dtype, mask=mask) * 2 - 1
        position, landmarks = places.split(n, 1)
        return self._physics.row(torch.zeros_like(position), position, landmarks)

    def _joint(self, actions: Tensor) -> Tensor:
        return actions

    def _reward(self) -> Tensor:
        n, apart = self.n_agents, self._seen.apart
        nearest = apart[:, : n * n].unflatten(1, (n, n)).amin(1).sum(1)
        # Every pair is counted from both ends, as both agents pay for it.
        touches = (apart[:, n * n :] < 2 * _SIZE).sum(1, dtype=self.dtype)
        return torch.add(touches * self._touch, nearest, alpha=self._far)
