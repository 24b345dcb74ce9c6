"""IPPO and MAPPO: proximal policy optimisation by every agent, with its own or the team's critic.

Sources: Schulman et al. (2017), "Proximal policy optimization algorithms", equation 7; de Witt et
al. (2020), "Is independent learning all you need in the StarCraft multi-agent challenge?" (IPPO);
Yu et al. (2022), "The surprising effectiveness of PPO in cooperative multi-agent games" (MAPPO).

    rho = pi(u_i | tau_i) / pi_old(u_i | tau_i)
    actor:  -min(rho A_i, clip(rho, 1 - eps, 1 + eps) A_i) - c H(pi)
    critic: (V - (A_i + V_old))^2,   V(obs_i, id) for IPPO and V(s, id) for MAPPO

IPPO can learn from each agent's own reward (``learner.rewards=individual``).

A_i by generalised advantage estimation from the values at collection. pi_old is that of the
policy that acted. Actors are recurrent and begin every epoch at the episodes' start, as while
playing. All steps of a rollout make one minibatch.

Deviations from the authors' code: no value normalisation and no clipped value loss (the rewards are
divided by the task's scale instead), networks initialised as everywhere here. From EPyMARL's: GAE
instead of five-step returns, and normalised advantages.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from marl.algorithms.actor_critic import OnPolicy, entropy, generalised_advantages
from marl.algorithms.base import Build, Loss
from marl.batch import Batch
from marl.episodes import Episodes
from marl.networks import for_each_agent, mlp, with_ids
from marl.settings.algorithms import PpoConfig


class Ppo(OnPolicy):
    """What both have in common."""

    sees_state = True
    """Whether the critic sees the state, or each agent's own observation."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings = build.settings(PpoConfig)
        self.epochs = self.settings.epochs
        sizes = build.sizes
        width = sizes.state_dim if self.sees_state else sizes.obs_dim
        with build.seeded("critic"):
            hidden = [self.settings.critic_dim] * 2
            self.critic = mlp(width + sizes.n_agents, hidden, 1).to(build.device, build.dtype)
        if self.sees_state:
            self.add_state_scale()

    @property
    def critic_networks(self) -> list[nn.Module]:
        return [self.critic]

    @property
    def extras(self) -> Mapping[str, tuple[int, ...]]:
        n = self.sizes.n_agents
        return {"log_prob": (n,), "advantage": (n,), "value_target": (n,)}

    def values(self, obs: Tensor, state: Tensor) -> Tensor:
        """V ``[N, n]`` for obs ``[N, n, o]`` and state ``[N, s]``."""
        seen = for_each_agent(self.shown(state), self.sizes.n_agents) if self.sees_state else obs
        return self.critic(with_ids(seen)).squeeze(-1)

    @torch.no_grad()
    def prepare(self, rollout: Episodes) -> Episodes:
        rollout = super().prepare(rollout)
        shape = rollout.obs.shape[:2]
        flat = self.values(rollout.obs.flatten(0, 1), rollout.state.flatten(0, 1))
        values = flat.unflatten(0, shape)  # [E, T + 1, n]
        advantage = generalised_advantages(
            rollout.rewards,
            rollout.terminated,
            rollout.filled,
            values,
            self.gamma,
            self.settings.gae_lambda,
        )
        return rollout.with_extras(advantage=advantage, value_target=advantage + values[:, :-1])

    def critic_loss(self, batch: Batch) -> Loss:
        now = batch.current
        error = self.values(batch.obs[now], batch.state[now]) - batch.extra("value_target")
        return Loss(error.square().mean(), {"value_error_abs": error.abs().mean()})

    def actor_loss(self, batch: Batch) -> Loss:
        log_probs = self.log_probs(batch)
        taken = log_probs.gather(-1, batch.actions[..., None]).squeeze(-1)
        ratio = (taken - batch.extra("log_prob")).exp()
        advantage = batch.extra("advantage")
        # The deviation of a population, so that a single step has one, too.
        spread = advantage.std(correction=0)
        advantage = (advantage - advantage.mean()) / (spread + 1e-8)
        clip = self.settings.clip
        least = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
        h = entropy(log_probs).mean()
        clipped = ((ratio - 1).abs() > clip).to(ratio.dtype).mean()
        value = -least.mean() - self.settings.entropy * h
        return Loss(value, {"entropy": h, "clipped": clipped})


class Ippo(Ppo):
    """Independent PPO."""

    sees_state = False


class Mappo(Ppo):
    """PPO with a critic of the state."""
