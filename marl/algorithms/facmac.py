"""FACMAC for discrete actions: MADDPG with a critic that factors, and all actors moved at once.

Source: Peng et al. (2021), "FACMAC: factored multi-agent centralised policy gradients", equations 3
and 6; the discrete form of its code, as for MADDPG.

    q_tot = f(q_1(obs_1, u_1) .. q_n(obs_n, u_n), s),   f: QMIX's mixer or a credit function
    critic: (q_tot - r - gamma (1 - d) q_tot'(s', u'))^2
    actor:  -f(q_1(obs_1, pi_1) .. q_n(obs_n, pi_n), s) + c |logits|^2

f need not be monotone: the actors climb q_tot itself. With a credit function the team's value has
nothing to learn but the utilities.
"""

from __future__ import annotations

import torch

from marl.algorithms.base import Build, Loss
from marl.algorithms.factored import FactoredActors
from marl.algorithms.maddpg import GumbelActors
from marl.batch import Batch
from marl.networks import one_hot
from marl.settings.algorithms import FacmacConfig
from marl.targets import td_targets


class Facmac(FactoredActors, GumbelActors):
    """Factored multi-agent centralised policy gradients."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings = build.settings(FacmacConfig)

    def critic_loss(self, batch: Batch) -> Loss:
        a = self.sizes.n_actions
        taken = one_hot(batch.actions, a, self.dtype)
        q_tot = self.q_tot(self.critic, batch, batch.current, taken)
        with torch.no_grad():
            best = one_hot(self.best_next(batch), a, self.dtype)
            after = self.q_tot(self.target_critic, batch, batch.next, best)
            target = td_targets(batch, after, self.gamma, self.learner.td_lambda)
        return self.squared_error(q_tot, target)

    def actor_loss(self, batch: Batch) -> Loss:
        now = batch.current
        logits, avail = self.logits(batch)[now], batch.avail[now]
        drawn = self.straight_through(logits, avail)
        q_tot = self.q_tot(self.critic, batch, now, drawn)
        value = -q_tot.mean() + self.regulariser(logits, avail, self.settings.logit_penalty)
        return Loss(value, {"actor_q_tot_mean": q_tot.mean()})
