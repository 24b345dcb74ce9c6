"""Spread: n agents cover n landmarks without bumping into each other.

Rules and numbers as in mpe2 1.1.1, simple_spread_v3. The team's reward is the sum of the agents',
which with local_ratio r is

    -n (1 - r) sum_l min_i |p_i - p_l|  -  2 r (number of pairs that touch).

An agent's own is the n-th part of the first term, and -r for each other agent that touches it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marl.envs.mpe.core import Physics
from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.layout import Column, Layout
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard

_SIZE = 0.15
_PUSH = 5.0


def view(layout: Layout, agent: int) -> list[Column]:
    """An agent's columns: velocity, position, landmarks, others, and their silent messages."""
    columns = [*layout.velocity(agent), *layout.position(agent)]
    for landmark in range(layout.places):
        columns += layout.to_place(agent, landmark)
    others = layout.to_others(agent)
    for other in others:
        columns += other
    return columns + [layout.nothing] * (2 * len(others))


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
        views = [view(layout, agent) for agent in range(n)]
        physics = Physics(
            layout,
            views=views,
            measured=[layout.to_place(agent, place) for agent in range(n) for place in range(n)],
            sizes=[_SIZE] * n,
            obstacle_size=None,
            pushes=[_PUSH] * n,
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
            n_agents=n,
            obs_dim=len(views[0]),
        )
        self._far, self._touch = -n * (1.0 - local_ratio), -local_ratio

    def _start(self, mask: Tensor) -> Tensor:
        n = self.n_agents
        places = self.streams.uniform(2 * n, 2, dtype=self.dtype, mask=mask) * 2 - 1
        position, landmarks = places.split(n, 1)
        return self._physics.row(torch.zeros_like(position), position, landmarks)

    def _joint(self, actions: Tensor) -> Tensor:
        return actions

    def _shares(self, apart: Tensor) -> Tensor:
        n = self.n_agents
        pairs, places = apart.split([n * (n - 1), n * n], 1)
        touches = (pairs < 2 * _SIZE).view(-1, n, n - 1).sum(2, dtype=self.dtype)
        nearest = places.view(-1, n, n).amin(1).sum(1, keepdim=True)
        return torch.add(touches * self._touch, nearest, alpha=self._far / n)

    def _reward(self, apart: Tensor) -> Tensor:
        n = self.n_agents
        # Every pair is counted from both ends, as both agents pay for it.
        touches = (apart[:, : n * (n - 1)] < 2 * _SIZE).sum(1, dtype=self.dtype)
        nearest = apart[:, n * (n - 1) :].view(-1, n, n).amin(1).sum(1)
        return torch.add(touches * self._touch, nearest, alpha=self._far)
