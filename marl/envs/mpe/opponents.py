"""Who plays the prey of tag and the adversary of adversary: fixed, deterministic policies.

An opponent sees what the reference's opponent sees, in the same layout, and answers with an
action. Two are written here, and `marl.envs.mpe.checkpoint` reads a trained one from a file.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.envs.mpe.core import DIRECTIONS

Opponent = Callable[[Tensor], Tensor]
"""From the opponent's observations ``[B, o]`` to its actions, int64 ``[B]``."""


class ScriptedPrey:
    """Flees from the predators without leaving the arena for long, by looking some steps ahead.

    Of the five places where its momentum and a push would take it (a velocity of 1 carries 0.2,
    pushing 0.3), it goes for the one with the least danger: for each predator 1 / (squared
    distance + 0.01), for each obstacle, which would stop it, a tenth of that, and for each axis 20
    times the square of how far the place lies beyond 0.7; the penalty that the reference's prey
    pays for leaving the arena begins at 0.9. The numbers were chosen among a few hundred so that
    random and chasing predators earn about what they earn against EPyMARL's prey.

    Its observation: velocity, position, two obstacles and three predators relative to it.
    """

    obs_dim = 14

    _GLIDE = 0.2
    _PUSH = 0.3
    _INSIDE = 0.7
    _OUTSIDE_COSTS = 20.0
    _SOFT = 0.01

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._moves = torch.tensor(DIRECTIONS, device=device, dtype=dtype) * self._PUSH  # [5, 2]
        self._weights = torch.tensor([0.1, 0.1, 1.0, 1.0, 1.0], device=device, dtype=dtype)

    def __call__(self, obs: Tensor) -> Tensor:
        velocity, place, things = (
            obs[:, None, :2],
            obs[:, None, 2:4],
            obs[:, 4:].unflatten(1, (5, 2)),
        )
        moves = torch.add(self._moves, velocity, alpha=self._GLIDE)  # [B, 5, 2]
        squares = (things[:, None] - moves[:, :, None]).square().sum(-1)  # [B, moves, things]
        danger = (self._weights / (squares + self._SOFT)).sum(-1)
        outside = F.softshrink(place + moves, self._INSIDE).square().sum(-1)
        return torch.add(danger, outside, alpha=self._OUTSIDE_COSTS).argmin(-1)


class ScriptedAdversary:
    """Goes for the landmark that a good agent is nearest to, the most plausible goal.

    It pushes along the axis on which that landmark is further away, and lets itself drift where
    both are nearer than a fifth: it does not see its own velocity, and a push from there would
    carry it past.

    Its observation: two landmarks and the two good agents, relative to it.
    """

    obs_dim = 8

    _NEAR = 0.2

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        signs = torch.tensor(DIRECTIONS, device=device, dtype=dtype)
        # Of each action, how far the goal lies in its direction; for none, what counts as near.
        self._signs = signs[None]  # [1, 5, 2]
        self._near = torch.tensor([self._NEAR, 0.0, 0.0, 0.0, 0.0], device=device, dtype=dtype)

    def __call__(self, obs: Tensor) -> Tensor:
        landmarks, agents = obs.unflatten(1, (4, 2)).split(2, 1)  # [B, 2, 2]
        nearest = (landmarks[:, :, None] - agents[:, None]).square().sum(-1).amin(-1)
        first = (nearest[:, 0] <= nearest[:, 1])[:, None]
        goal = torch.where(first, landmarks[:, 0], landmarks[:, 1])
        return ((self._signs * goal[:, None]).sum(-1) + self._near).argmax(-1)
