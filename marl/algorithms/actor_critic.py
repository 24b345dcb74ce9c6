"""Actors that are told how well they do by critics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from marl.agents import Agent
from marl.algorithms.base import Algorithm, Build, Draw, Loss
from marl.batch import Batch
from marl.episodes import Episodes
from marl.policies import Policy, Sampled, log_softmax
from marl.replay import Replay
from marl.streams import Streams


class ActorCritic(Algorithm):
    """A stochastic actor for all agents; its critics are a subclass's.

    Groups: ``critic`` first, where there is one, then ``actor``.
    """

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        with build.seeded("agent"):
            actor = build.make_agent()
        self.agent = actor.to(build.device, build.dtype)

    @property
    def actor(self) -> Agent:
        return self.agent

    @property
    def critic_networks(self) -> list[nn.Module]:
        """What the critic's loss trains; nothing without a critic."""
        return []

    def groups(self) -> dict[str, list[nn.Parameter]]:
        critic = [p for network in self.critic_networks for p in network.parameters()]
        return {**({"critic": critic} if critic else {}), "actor": list(self.agent.parameters())}

    def loss(self, group: str, batch: Batch) -> Loss:
        return self.critic_loss(batch) if group == "critic" else self.actor_loss(batch)

    def critic_loss(self, batch: Batch) -> Loss:
        """What the critic minimises; of those that have one."""
        raise TypeError(f"{type(self).__name__} has critic networks and no critic_loss")

    @abstractmethod
    def actor_loss(self, batch: Batch) -> Loss:
        """What the actor minimises."""

    def policy(self, num_envs: int, streams: Streams, epsilon: float) -> Policy:
        """Actions are drawn from the actor's probabilities; epsilon has no part in it."""
        drawn = streams.uniform(self.horizon, self.sizes.n_agents, 1, dtype=self.dtype)
        return Sampled(self.agent.player(num_envs), drawn)

    def logits(self, batch: Batch) -> Tensor:
        """The actor's, at all moments ``[M, n, a]``."""
        return self.agent.sequence(self.agent.inputs(batch.obs, batch.last_actions), batch.counts)

    def log_probs(self, batch: Batch) -> Tensor:
        """log pi of every action where steps began, ``[S, n, a]``."""
        now = batch.current
        return log_softmax(self.logits(batch)[now], batch.avail[now])


class OnPolicy(ActorCritic):
    """Learns from each rollout and forgets it."""

    on_policy = True

    epochs: int = 1
    """Times that a rollout is learned from."""

    def batches(self, rollout: Episodes, replay: Replay) -> Iterator[Draw]:
        for _ in range(self.epochs):
            yield Draw(shortened(rollout), newest=True)


def shortened(episodes: Episodes) -> Episodes:
    """Episodes cut to the longest of them."""
    longest = int(episodes.lengths().max())
    return episodes.shortened(longest)


def cut_off(batch: Batch) -> Tensor:
    """Whether an episode was truncated after a step, bool ``[S]``: it has no next action."""
    filled = batch.episodes.filled
    goes_on = torch.cat([filled[:, 1:], torch.zeros_like(filled[:, :1])], 1)
    return ~batch.steps(goes_on) & ~batch.terminated


def entropy(log_probs: Tensor) -> Tensor:
    """``[..., a]`` -> ``[...]``, in nats."""
    return -(log_probs.exp() * log_probs).sum(-1)


def generalised_advantages(
    reward: Tensor,
    terminated: Tensor,
    filled: Tensor,
    values: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimation (Schulman et al., 2016, equation 16), along each episode.

        delta_t = r_t + gamma * (1 - terminated_t) * V_{t+1} - V_t
        A_t = delta_t + gamma * lambda * (1 - terminated_t) * A_{t+1}

    where A after the last step that happened is 0.

    Args:
        reward: ``[E, T, k]``, or ``[E, T, 1]`` for all.
        terminated, filled: bool ``[E, T]``.
        values: ``[E, T + 1, k]``.

    Returns:
        ``[E, T, k]``; 0 where no step happened.
    """
    goes_on = (~terminated)[..., None]
    delta = reward + gamma * values[:, 1:] * goes_on - values[:, :-1]
    delta = delta.masked_fill(~filled[..., None], 0)
    result, following = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
    for t in range(reward.shape[1] - 1, -1, -1):
        following = delta[:, t] + gamma * gae_lambda * following * goes_on[:, t]
        result[:, t] = following
    return result
