"""RIIT: actors that climb a factored critic, which learns from old and new episodes in turn.

Source: Hu et al. (2021), "Rethinking the implementation tricks and monotonicity constraint in
cooperative multi-agent reinforcement learning", arXiv 2102.03479, section 5, with the settings of
its code (``fmac_learner``).

    q_tot = f(q_1(obs_1, u_1) .. q_n(obs_n, u_n), s),   f: QMIX's mixer or a credit function
    critic: 0.5 (q_tot - y)^2, y by TD(lambda) of the target's q_tot at the actions that were taken
    actor:  -f(q_1(obs_1, pi_1) .., s) - c H / H without gradient

pi_i enters the critic as probabilities. After each rollout, once there are enough episodes: one
step of the critic on episodes drawn from all that are kept (lambda 0), then one of the critic and
one of the actor on the newest (lambda 0.6). Without `learner.td_lambda`, which this does not read.

f need not be monotone, so a credit function under ``relax`` is legitimate here: nobody takes an
argmax of q_i, and the actors climb q_tot itself. f = sum is the credit function with weights 1 and
bias 0.

Deviations: the target after the last step of a truncated episode takes the actor's probabilities,
since no next action is known (the code feeds zeros); rewards are divided by the task's scale.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from marl.algorithms.actor_critic import cut_off, entropy
from marl.algorithms.base import Build, Draw, Loss
from marl.algorithms.factored import FactoredActors
from marl.algorithms.mixer import Mixer
from marl.algorithms.vdn import VdnMixer
from marl.batch import Batch
from marl.episodes import Episodes
from marl.networks import one_hot
from marl.policies import log_softmax
from marl.replay import Replay
from marl.settings.algorithms import RiitConfig
from marl.targets import td_targets

LEAST_ENTROPY = 1e-6
"""Below it the entropy's gradient is not scaled up any more."""


class Riit(FactoredActors):
    """Actors on a factored critic."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings = build.settings(RiitConfig)

    def make_mixer(self, build: Build) -> Mixer:
        summed = build.settings(RiitConfig).mixing == "sum"
        return VdnMixer() if summed else super().make_mixer(build)

    def batches(self, rollout: Episodes, replay: Replay) -> Iterator[Draw]:
        settings = self.learner
        if replay.size < settings.batch_size:
            return
        for _ in range(settings.updates_per_rollout):
            yield Draw(replay.sample(settings.batch_size), ("critic",))
            yield Draw(replay.newest(self.settings.newest), newest=True)

    def critic_loss(self, batch: Batch) -> Loss:
        taken = one_hot(batch.actions, self.sizes.n_actions, self.dtype)
        q_tot = self.q_tot(self.critic, batch, batch.current, taken)
        with torch.no_grad():
            after = self.q_tot(self.target_critic, batch, batch.next, self.next_actions(batch))
            td_lambda = self.settings.newest_lambda if batch.newest else 0.0
            target = td_targets(batch, after, self.gamma, td_lambda)
        loss = self.squared_error(q_tot, target)
        return loss._replace(value=0.5 * loss.value)

    def next_actions(self, batch: Batch) -> Tensor:
        """What was done after each step, ``[S, n, a]``: one-hot, or the actor's probabilities where
        an episode was cut there."""
        actions = batch.episodes.actions
        after = batch.steps(torch.cat([actions[:, 1:], actions[:, -1:]], 1))
        result, cut = one_hot(after, self.sizes.n_actions, self.dtype), cut_off(batch)
        if bool(cut.any()):
            then = batch.next[cut]
            result[cut] = log_softmax(self.logits(batch)[then], batch.avail[then]).exp()
        return result

    def actor_loss(self, batch: Batch) -> Loss:
        log_probs = self.log_probs(batch)
        q_tot = self.q_tot(self.critic, batch, batch.current, log_probs.exp())
        h = entropy(log_probs).mean()
        bonus = self.settings.entropy * h / h.detach().clamp(min=LEAST_ENTROPY)
        return Loss(-q_tot.mean() - bonus, {"entropy": h, "actor_q_tot_mean": q_tot.mean()})
