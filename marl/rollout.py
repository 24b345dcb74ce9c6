"""Playing whole episodes, one per instance of a batched environment."""

from __future__ import annotations

import torch
from torch import Tensor

from marl.agents import Agent
from marl.envs.base import BatchedEnv, Observation
from marl.episodes import Episodes
from marl.streams import Streams


def choose_actions(q: Tensor, avail: Tensor, epsilon: float, luck: Tensor) -> Tensor:
    """Epsilon-greedy: with probability epsilon a uniformly random available action.

    Args:
        q: ``[B, n, a]``.
        avail: bool ``[B, n, a]``.
        epsilon: in [0, 1].
        luck: uniform numbers ``[B, n, 2]``: whether to explore, and with which action.

    Returns:
        int64 ``[B, n]``.
    """
    greedy = q.masked_fill(~avail, -float("inf")).argmax(-1)
    rank = avail.cumsum(-1)  # 1, 2, ... over the available actions
    wanted = (luck[..., 1] * rank[..., -1]).long() + 1
    # The first action whose rank is the wanted one: an unavailable action repeats an earlier rank.
    random = (rank == wanted[..., None]).to(torch.uint8).argmax(-1)
    return torch.where(luck[..., 0] < epsilon, random, greedy)


@torch.no_grad()
def collect(env: BatchedEnv, agent: Agent, epsilon: float, streams: Streams | None) -> Episodes:
    """One whole episode of every instance.

    Args:
        env: is reset first; at the end all its instances are frozen.
        agent: decides for all agents, each from its own observations.
        epsilon: probability of a random action.
        streams: luck of the exploration, one stream per instance; None where epsilon is 0, for a
            greedy rollout draws nothing.

    Returns:
        ``env.num_envs`` episodes with room for ``env.horizon`` steps.
    """
    batch, horizon, n = env.num_envs, env.horizon, env.n_agents
    luck = None if streams is None else streams.uniform(horizon, n, 2, dtype=env.dtype)
    play = agent.player(batch)
    now = env.reset()
    last = torch.full((batch, n), -1, dtype=torch.int64, device=env.device)
    seen, steps = [now], []
    for t in range(horizon):
        q = play(now.obs, last)
        if luck is None:
            last = q.masked_fill(~now.avail, -float("inf")).argmax(-1)
        else:
            last = choose_actions(q, now.avail, epsilon, luck[:, t])
        active = ~env.done
        reward, terminated, _, *after = env.step(last)
        now = Observation(*after)
        seen.append(now)
        steps.append((last, reward, terminated, active))
        if t + 1 < horizon and bool(env.done.all()):
            break
    # Rows that no instance reached repeat the end, so that they too hold states the task can show.
    missing = horizon - len(steps)
    seen += [now] * missing
    idle = torch.zeros_like(env.done)
    steps += [(last, torch.zeros_like(reward), idle, idle)] * missing
    obs, state, avail = (torch.stack(x, 1) for x in zip(*seen, strict=True))
    actions, rewards, ends, filled = (torch.stack(x, 1) for x in zip(*steps, strict=True))
    return Episodes(obs, state, avail, actions, rewards, ends, filled)
