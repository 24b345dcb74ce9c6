"""Particle environments with one body that is no agent of the team."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.envs.mpe.core import Physics
from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.layout import Column
from marl.envs.mpe.opponents import Opponent
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard


class OpposedEnv(ParticleEnv):
    """A team against one opponent, the first or the last of the bodies.

    Args:
        physics: of the bodies, made with ``views``.
        views: the agents', then the opponent's.
        opponent: its policy.
        opponent_first: whether it is the first body; otherwise the last.
    """

    opponent: Opponent
    """Decides from what it sees before the step, as the agents do. May be replaced."""

    def __init__(
        self,
        card: TaskCard,
        num_envs: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        config: EnvConfig,
        *,
        physics: Physics,
        views: Sequence[Sequence[Column]],
        opponent: Opponent,
        opponent_first: bool,
    ) -> None:
        super().__init__(
            card,
            num_envs,
            seed,
            device,
            dtype,
            config,
            physics=physics,
            n_agents=len(views) - 1,
            obs_dim=len(views[0]),
        )
        self.opponent = opponent
        self._first = opponent_first
        self._theirs = slice(self.state_dim, self.state_dim + len(views[-1]))

    def opponent_obs(self) -> Tensor:
        """What the opponent sees now, ``[B, o]`` in the reference's layout."""
        return self._scene.shown[:, self._theirs]

    def _joint(self, actions: Tensor) -> Tensor:
        theirs = self.opponent(self.opponent_obs()).unsqueeze(1)
        return torch.cat([theirs, actions] if self._first else [actions, theirs], 1)
