"""What the particle environments have in common: a scene that moves, and views of it."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.envs.mpe.core import DIRECTIONS, Physics
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard


class ParticleEnv(BatchedEnv):
    """Bodies in a plane, of which some or all are the agents.

    The state is the agents' observations, one after the other.

    Args:
        physics: of the bodies; its first views are the agents'.
        n_agents, obs_dim: number of these views, and columns of each.
    """

    individual: ClassVar[bool] = True

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
        n_agents: int,
        obs_dim: int,
    ) -> None:
        n = n_agents
        for what, declared, actual in (
            ("agents", card.n_agents, n),
            ("actions", card.n_actions, len(DIRECTIONS)),
            ("state columns", card.state_dim, n * obs_dim),
        ):
            if declared != actual:
                raise SettingsError(
                    f"task '{card.name}': this particle environment has {actual} {what}, but the "
                    f"card declares {declared}"
                )
        super().__init__(
            num_envs=num_envs,
            n_agents=n,
            n_actions=len(DIRECTIONS),
            obs_dim=obs_dim,
            state_dim=n * obs_dim,
            horizon=card.horizon,
            time_limit=config.time_limit,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        self._physics = physics
        self._avail = torch.ones(num_envs, n, len(DIRECTIONS), dtype=torch.bool, device=device)
        width = physics.layout.width
        self._scene = physics.look(torch.zeros(num_envs, width, device=device, dtype=dtype))

    @abstractmethod
    def _start(self, mask: Tensor) -> Tensor:
        """Rows ``[B, width]`` of new episodes, drawn by the streams of ``mask`` only."""

    @abstractmethod
    def _joint(self, actions: Tensor) -> Tensor:
        """The actions of all bodies, int64 ``[B, m]``, given the agents' ``[B, n]``."""

    @abstractmethod
    def _reward(self, apart: Tensor) -> Tensor:
        """The team's reward ``[B]``, given the distances of the scene."""

    @abstractmethod
    def _shares(self, apart: Tensor) -> Tensor:
        """Each agent's reward ``[B, n]``, given the scene's distances; their sum is the team's."""

    def _individual_rewards(self) -> Tensor:
        return self._shares(self._scene.apart)

    def place(self, velocity: Tensor, position: Tensor, fixed: Tensor) -> None:
        """Put all instances into given situations, such as the reference's; time goes on as it was.

        Args:
            velocity, position: of the bodies, in the reference's order, ``[B, m, 2]``.
            fixed: landmarks or obstacles ``[B, k, 2]``; in adversary, then the goal.
        """
        row = self._physics.row(velocity, position, fixed)
        self._scene = self._physics.look(row.to(self.device, self.dtype))

    def _restart(self, mask: Tensor) -> None:
        row = torch.where(mask[:, None], self._start(mask), self._scene.row)
        self._scene = self._physics.look(row)

    def _advance(self, actions: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        moved = self._physics.move(self._scene, self._joint(actions))
        row = torch.where(active.unsqueeze(1), moved, self._scene.row)
        self._scene = self._physics.look(row)
        return self._reward(self._scene.apart), self._none

    def _observe(self) -> Observation:
        state = self._scene.shown[:, : self.state_dim]
        return Observation(state.view(-1, self.n_agents, self.obs_dim), state, self._avail)

    def _world(self) -> dict[str, Tensor]:
        return {"row": self._scene.row}

    def _load_world(self, world: dict[str, Tensor]) -> None:
        self._scene = self._physics.look(world["row"])
