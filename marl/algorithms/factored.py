"""Critics that factor: one value for each agent, mixed into the team's."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from marl.algorithms.actor_critic import ActorCritic
from marl.algorithms.base import Build, Loss, td_loss
from marl.algorithms.credit import mixer_for
from marl.algorithms.mixer import Mixer
from marl.algorithms.qmix import QmixMixer
from marl.batch import Batch
from marl.credit_watch import Moments
from marl.networks import mlp, with_ids
from marl.settings.algorithms import ActorCriticSettings, QmixConfig


class FactoredCritic(nn.Module):
    """q_i(obs_i, u_i, i) of every agent, and q_tot = f(q_1 .. q_n, s). Weights are shared.

    Actions are given as one-hot vectors or as probabilities.
    """

    def __init__(self, build: Build, width: int, mixer: Mixer) -> None:
        super().__init__()
        sizes = build.sizes
        self.utility = mlp(sizes.obs_dim + sizes.n_actions + sizes.n_agents, [width] * 2, 1)
        self.mixer = mixer
        self.mixer_is_trained = any(True for _ in mixer.parameters())
        self.largest_q = torch.zeros(())
        """The largest |q_i| that the mixer was given last."""

    def utilities(self, obs: Tensor, actions: Tensor) -> Tensor:
        """``[N, n]`` for obs ``[N, n, o]`` and actions ``[N, n, a]``."""
        return self.utility(with_ids(torch.cat([obs, actions], -1))).squeeze(-1)

    def forward(self, obs: Tensor, actions: Tensor, raw: Tensor, shown: Tensor) -> Tensor:
        """q_tot ``[N, 1]``.

        Args:
            obs: ``[N, n, o]``.
            actions: ``[N, n, a]``.
            raw, shown: ``[N, s]``, the state as it is for a credit function, and as networks get
                it.
        """
        qs = self.utilities(obs, actions)
        self.largest_q = qs.detach().abs().amax()
        return self.mixer(qs, shown if self.mixer_is_trained else raw)

    def make_target(self) -> FactoredCritic:
        """A frozen copy."""
        return copy.deepcopy(self).requires_grad_(False)


class FactoredActors(ActorCritic):
    """Actors that climb a factored critic, whose mixer is a network or a credit function."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        width = build.settings(ActorCriticSettings).critic_dim
        with build.seeded("critic"):
            critic = FactoredCritic(build, width, mixer_for(build, self.make_mixer))
        self.critic = critic.to(build.device, build.dtype)
        self.target_critic = self.critic.make_target()
        if self.critic.mixer_is_trained:
            self.add_state_scale()

    def make_mixer(self, build: Build) -> Mixer:
        """The algorithm's own mixer, initialised from torch's generator."""
        return QmixMixer(QmixConfig(), build.sizes)

    @property
    def critic_networks(self) -> list[nn.Module]:
        return [self.critic]

    def q_tot(self, critic: FactoredCritic, batch: Batch, at: Tensor, actions: Tensor) -> Tensor:
        """``[N, 1]`` at moments ``at`` ``[N]`` of actions ``[N, n, a]``."""
        state = batch.state[at]
        return critic(batch.obs[at], actions, state, self.shown(state))

    def squared_error(self, q_tot: Tensor, target: Tensor) -> Loss:
        """The critic's loss, of values and targets ``[S, 1]``."""
        most = torch.maximum(self.critic.largest_q, self.target_critic.largest_q)
        return td_loss(q_tot, target)._replace(largest_q=most)

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().targets(), (self.critic, self.target_critic)]

    def mixing(self, state: Tensor) -> tuple[Mixer, Tensor] | None:
        mixer, trained = self.critic.mixer, self.critic.mixer_is_trained
        return mixer, self.shown(state) if trained else state

    @torch.no_grad()
    def credit_moments(self, batch: Batch) -> Moments:
        obs, every = batch.obs, torch.eye(self.sizes.n_actions, device=self.device)
        qs = [
            self.critic.utilities(obs, one.to(obs.dtype).expand(*obs.shape[:2], -1))
            for one in every
        ]
        return Moments(torch.stack(qs, -1), batch.avail, batch.state)
