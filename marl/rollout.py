"""Playing whole episodes, one per instance of a batched environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from marl.envs.base import BatchedEnv, Observation
from marl.episodes import INDIVIDUAL, Episodes
from marl.policies import Policy


class Turn(NamedTuple):
    """One step of all instances."""

    before: Observation
    actions: Tensor
    """int64 ``[B, n]``"""
    reward: Tensor
    """``[B]``; 0 where nothing happened"""
    terminated: Tensor
    """bool ``[B]``"""
    active: Tensor
    """bool ``[B]``: the step happened"""
    after: Observation
    extras: dict[str, Tensor]
    """``[B, ...]`` by name: what the policy wants kept"""


@torch.no_grad()
def play(env: BatchedEnv, policy: Policy, mask: Tensor | None = None) -> Iterator[Turn]:
    """One whole episode of every instance, step by step, until all have ended.

    Args:
        env: is reset first; at the end all its instances are frozen.
        policy: newly made for ``env.num_envs`` episodes.
        mask: bool ``[B]``: the instances that play; by default all. The others must be frozen.
    """
    batch, horizon, n = env.num_envs, env.horizon, env.n_agents
    now = env.reset(mask)
    last = torch.full((batch, n), -1, dtype=torch.int64, device=env.device)
    for t in range(horizon):
        last, extras = policy(t, now.obs, now.state, now.avail, last)
        active = ~env.done
        reward, terminated, _, *after = env.step(last)
        before, now = now, Observation(*after)
        yield Turn(before, last, reward, terminated, active, now, extras)
        if t + 1 < horizon and bool(env.done.all()):
            return


def collect(env: BatchedEnv, policy: Policy, *, individual: bool = False) -> Episodes:
    """One whole episode of every instance.

    Args:
        env, policy: as for `play`.
        individual: keep the agents' own rewards, too.

    Returns:
        ``env.num_envs`` episodes with room for ``env.horizon`` steps, without those that are lost
        (`marl.envs.base.BatchedEnv.lost`).
    """
    turns, paid = [], []
    for turn in play(env, policy):
        turns.append(turn)
        if individual:
            paid.append(env.individual_rewards())
    end, idle = turns[-1].after, torch.zeros_like(env.done)
    # Rows that no instance reached repeat the end, so that they too hold states the task can show.
    nothing = turns[-1]._replace(
        before=end, reward=torch.zeros_like(turns[-1].reward), terminated=idle, active=idle
    )
    turns += [nothing] * (env.horizon - len(turns))
    seen, *steps, _, extras = zip(*turns, strict=True)
    obs, state, avail = (torch.stack(x, 1) for x in zip(*seen, end, strict=True))
    actions, rewards, ends, filled = (torch.stack(x, 1) for x in steps)
    kept = {name: torch.stack([of[name] for of in extras], 1) for name in extras[0]}
    if individual:
        paid += [torch.zeros_like(paid[-1])] * (env.horizon - len(paid))
        kept[INDIVIDUAL] = torch.stack(paid, 1)
    episodes = Episodes(obs, state, avail, actions, rewards, ends, filled, kept)
    return episodes.where(~env.lost) if bool(env.lost.any()) else episodes
