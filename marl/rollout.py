"""Playing whole episodes, one per instance of a batched environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from marl.agents import Agent, Player
from marl.envs.base import BatchedEnv, Observation
from marl.episodes import Episodes
from marl.streams import Streams


class Explorer:
    """Epsilon-greedy choice along a rollout: with probability epsilon a random available action.

    Args:
        epsilon: in [0, 1].
        luck: uniform numbers ``[B, T, n, 2]``: whether to explore, and with which action.
        n_actions: a.
    """

    def __init__(self, epsilon: float, luck: Tensor, n_actions: int) -> None:
        self._luck = luck[..., 1].unbind(1)
        self._explores = (luck[..., 0] < epsilon).unbind(1)
        # What is random where everything is available, which no single moment need work out.
        self._free = (luck[..., 1] * n_actions).long().unbind(1)
        self._all_available: Tensor | None = None

    def __call__(self, t: int, q: Tensor, avail: Tensor) -> Tensor:
        """The actions of moment t.

        Args:
            t: 0, 1, ...
            q: ``[B, n, a]``.
            avail: bool ``[B, n, a]``.

        Returns:
            int64 ``[B, n]``.
        """
        if avail is not self._all_available and t == 0 and bool(avail.all()):
            self._all_available = avail
        if avail is self._all_available:
            return torch.where(self._explores[t], self._free[t], q.argmax(-1))
        rank = avail.cumsum(-1)  # 1, 2, ... over the available actions
        wanted = (self._luck[t] * rank[..., -1]).long() + 1
        # The first action whose rank is wanted: an unavailable action repeats an earlier rank.
        random = (rank == wanted[..., None]).to(torch.uint8).argmax(-1)
        return torch.where(self._explores[t], random, greedy_actions(q, avail))


def greedy_actions(q: Tensor, avail: Tensor) -> Tensor:
    """The best available actions, int64 ``[B, n]``, for q and avail ``[B, n, a]``."""
    return q.masked_fill(~avail, -float("inf")).argmax(-1)


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


@torch.no_grad()
def play(
    env: BatchedEnv,
    player: Player,
    epsilon: float,
    streams: Streams | None,
    mask: Tensor | None = None,
) -> Iterator[Turn]:
    """One whole episode of every instance, step by step, until all have ended.

    Args:
        env: is reset first; at the end all its instances are frozen.
        player: newly made for ``env.num_envs`` episodes.
        epsilon: probability of a random action.
        streams: luck of the exploration, one stream per instance; None where epsilon is 0, for a
            greedy rollout draws nothing.
        mask: bool ``[B]``: the instances that play; by default all. The others must be frozen.
    """
    batch, horizon, n = env.num_envs, env.horizon, env.n_agents
    explore = None
    if streams is not None:
        luck = streams.uniform(horizon, n, 2, dtype=env.dtype)
        explore = Explorer(epsilon, luck, env.n_actions)
    now = env.reset(mask)
    last = torch.full((batch, n), -1, dtype=torch.int64, device=env.device)
    for t in range(horizon):
        q = player(now.obs, last)
        last = greedy_actions(q, now.avail) if explore is None else explore(t, q, now.avail)
        active = ~env.done
        reward, terminated, _, *after = env.step(last)
        before, now = now, Observation(*after)
        yield Turn(before, last, reward, terminated, active, now)
        if t + 1 < horizon and bool(env.done.all()):
            return


def collect(env: BatchedEnv, agent: Agent, epsilon: float, streams: Streams | None) -> Episodes:
    """One whole episode of every instance.

    Args:
        env, epsilon, streams: as for `play`.
        agent: decides for all agents, each from its own observations.

    Returns:
        ``env.num_envs`` episodes with room for ``env.horizon`` steps.
    """
    turns = list(play(env, agent.player(env.num_envs), epsilon, streams))
    end, idle = turns[-1].after, torch.zeros_like(env.done)
    # Rows that no instance reached repeat the end, so that they too hold states the task can show.
    nothing = Turn(end, turns[-1].actions, torch.zeros_like(turns[-1].reward), idle, idle, end)
    turns += [nothing] * (env.horizon - len(turns))
    seen, *steps = zip(*(turn[:-1] for turn in turns), strict=True)
    obs, state, avail = (torch.stack(x, 1) for x in zip(*seen, end, strict=True))
    actions, rewards, ends, filled = (torch.stack(x, 1) for x in steps)
    return Episodes(obs, state, avail, actions, rewards, ends, filled)
