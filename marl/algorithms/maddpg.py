"""MADDPG for discrete actions: a critic of everybody's actions for every agent.

Source: Lowe et al. (2017), "Multi-agent actor-critic for mixed cooperative-competitive
environments"; for discrete actions as in the code of FACMAC (Peng et al., 2021) and EPyMARL.

    critic: (Q_i(s, u_1..u_n) - r - gamma (1 - d) Q_i'(s', u'))^2,  u' the target actors' best
    actor:  -Q_i(s, u_1 .. pi_i .. u_n) + c |logits|^2

with pi_i a straight-through Gumbel-softmax sample: exactly one-hot forwards, the softmax's gradient
backwards. The other agents' actions are samples of their current policies, without gradient.

Differences from EPyMARL's code: it leaves terminal steps out of the loss and keeps padding in; here
every step that happened counts and nothing else. Logits of unavailable actions are left out of the
regulariser.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from marl.algorithms.actor_critic import ActorCritic
from marl.algorithms.base import Build, Loss, td_loss
from marl.batch import Batch
from marl.networks import for_each_agent, mlp, one_hot, with_ids
from marl.policies import greedy_actions
from marl.settings.algorithms import MaddpgConfig
from marl.targets import td_targets


class GumbelActors(ActorCritic):
    """Deterministic policy gradients through Gumbel-softmax samples, learned from replay."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.target_agent = copy.deepcopy(self.agent).requires_grad_(False)
        self.add_generator(build)

    def gumbel(self, like: Tensor) -> Tensor:
        """Gumbel noise from the algorithm's own generator."""
        drawn = torch.empty(like.shape, dtype=torch.float64).exponential_(generator=self.generator)
        return -drawn.log().to(like.device, like.dtype)

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.agent, self.target_agent), *super().targets()]

    def straight_through(self, logits: Tensor, avail: Tensor) -> Tensor:
        """One-hot samples ``[..., a]`` with the gradient of the softmax of the noisy logits."""
        noisy = (logits + self.gumbel(logits)).masked_fill(~avail, -float("inf"))
        soft = noisy.softmax(-1)
        hard = one_hot(noisy.argmax(-1), noisy.shape[-1], soft.dtype)
        return hard + (soft - soft.detach())

    def best_next(self, batch: Batch) -> Tensor:
        """The target actors' best actions after each step, int64 ``[S, n]``."""
        inputs = self.target_agent.inputs(batch.obs, batch.last_actions)
        logits = self.target_agent.sequence(inputs, batch.counts)[batch.next]
        return greedy_actions(logits, batch.avail[batch.next])

    def regulariser(self, logits: Tensor, avail: Tensor, scale: float) -> Tensor:
        """scale times the mean square of the available actions' logits."""
        return scale * logits[avail].square().mean()


class Maddpg(GumbelActors):
    """One critic with shared weights, told which agent it is asked about."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings, sizes = build.settings(MaddpgConfig), build.sizes
        n = sizes.n_agents
        width = sizes.state_dim + n * sizes.n_actions + n
        with build.seeded("critic"):
            critic = mlp(width, [self.settings.critic_dim] * 2, 1)
        self.critic = critic.to(build.device, build.dtype)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.add_state_scale()

    @property
    def critic_networks(self) -> list[nn.Module]:
        return [self.critic]

    def values(self, critic: nn.Module, state: Tensor, joint: Tensor) -> Tensor:
        """``[N, n]`` for the state ``[N, s]`` and each agent's view of all actions.

        Args:
            joint: one-hot ``[N, n, n, a]``: row i is the joint action that agent i's critic sees.
        """
        n = self.sizes.n_agents
        seen = for_each_agent(self.shown(state), n)
        return critic(with_ids(torch.cat([seen, joint.flatten(2)], -1))).squeeze(-1)

    def _joint(self, actions: Tensor) -> Tensor:
        hot = one_hot(actions, self.sizes.n_actions, self.dtype)
        return hot[:, None].expand(-1, self.sizes.n_agents, -1, -1)

    def critic_loss(self, batch: Batch) -> Loss:
        now, then = batch.current, batch.next
        q = self.values(self.critic, batch.state[now], self._joint(batch.actions))
        with torch.no_grad():
            joint = self._joint(self.best_next(batch))
            after = self.values(self.target_critic, batch.state[then], joint)
            target = td_targets(batch, after, self.gamma, self.learner.td_lambda)
        return td_loss(q, target, "q")

    def actor_loss(self, batch: Batch) -> Loss:
        now, n = batch.current, self.sizes.n_agents
        logits, avail = self.logits(batch)[now], batch.avail[now]
        drawn = self.straight_through(logits, avail)  # [S, n, a]
        own = torch.eye(n, dtype=torch.bool, device=drawn.device)[..., None]
        joint = torch.where(own, drawn[:, None], drawn.detach()[:, None])  # [S, n, n, a]
        q = self.values(self.critic, batch.state[now], joint)
        value = -q.mean() + self.regulariser(logits, avail, self.settings.logit_penalty)
        return Loss(value, {"actor_q_mean": q.mean()})

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().targets(), (self.critic, self.target_critic)]
