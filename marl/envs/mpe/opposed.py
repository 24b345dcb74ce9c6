"""Particle environments with one body that is no agent of the team."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.envs.config import EnvConfig
from marl.envs.mpe.core import Physics
from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.opponents import Opponent
from prompts.cards import TaskCard


class OpposedEnv(ParticleEnv):
    """A team against one opponent, the first or the last of the bodies.

    Args:
        opponent: its policy.
        opponent_first: whether it is the first body; otherwise the last.
        opponent_view: the columns that it sees.
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
        views: Sequence[Sequence[int]],
        opponent: Opponent,
        opponent_first: bool,
        opponent_view: Sequence[int],
    ) -> None:
        super().__init__(card, num_envs, seed, device, dtype, config, physics=physics, views=views)
        self.opponent = opponent
        self._first = opponent_first
        self._opponent_view = torch.tensor(opponent_view, device=device)

    def opponent_obs(self) -> Tensor:
        """What the opponent sees now, ``[B, o]`` in the reference's layout."""
        return self._seen.columns.index_select(1, self._opponent_view)

    def _joint(self, actions: Tensor) -> Tensor:
        theirs = self.opponent(self.opponent_obs())[:, None]
        return torch.cat([theirs, actions] if self._first else [actions, theirs], 1)
