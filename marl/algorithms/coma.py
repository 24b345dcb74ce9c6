"""COMA: each agent's advantage is what its action adds to what it would have done on average.

Source: Foerster et al. (2018), "Counterfactual multi-agent policy gradients", equations 4 and 7.

    A_i = Q(s, u) - sum_a pi_i(a | tau_i) Q(s, (u_-i, a))
    actor:  -A_i log pi_i(u_i) - c H(pi_i),  A_i without gradient
    critic: (Q(s, u) - y)^2,  y by TD(lambda) from a target network

One network gives Q for all actions of agent i, from the state, the agent's observation, its number
and the *others'* actions. The critic takes its step before the actor.

Deviations: the target after the last step of a truncated episode rests on the critic's mean over
agent i's probabilities, with the others' most probable actions, since no next action is known
there; the paper's episodes end. The paper mixes the policy with a uniform one; here the entropy's
weight keeps it random.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from marl.algorithms.actor_critic import OnPolicy, cut_off, entropy
from marl.algorithms.base import Build, Loss, td_loss
from marl.batch import Batch
from marl.networks import for_each_agent, mlp, one_hot, others, with_ids
from marl.policies import log_softmax
from marl.settings.algorithms import ComaConfig
from marl.targets import td_targets


class Coma(OnPolicy):
    """Counterfactual multi-agent policy gradients."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings, sizes = build.settings(ComaConfig), build.sizes
        n, a = sizes.n_agents, sizes.n_actions
        width = sizes.state_dim + sizes.obs_dim + (n - 1) * a + n
        with build.seeded("critic"):
            critic = mlp(width, [self.settings.critic_dim] * 2, a)
        self.critic = critic.to(build.device, build.dtype)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.add_state_scale()

    @property
    def critic_networks(self) -> list[nn.Module]:
        return [self.critic]

    def critic_inputs(self, state: Tensor, obs: Tensor, actions: Tensor) -> Tensor:
        """``[N, n, width]``: nothing in row i depends on agent i's own action."""
        n, a = self.sizes.n_agents, self.sizes.n_actions
        seen = for_each_agent(self.shown(state), n)
        theirs = others(one_hot(actions, a, obs.dtype))
        return with_ids(torch.cat([seen, obs, theirs], -1))

    def _inputs(self, batch: Batch) -> Tensor:
        now = batch.current
        return self.critic_inputs(batch.state[now], batch.obs[now], batch.actions)

    def critic_loss(self, batch: Batch) -> Loss:
        inputs, taken = self._inputs(batch), batch.actions[..., None]
        q = self.critic(inputs).gather(-1, taken).squeeze(-1)  # [S, n]
        with torch.no_grad():
            values = self.target_critic(inputs).gather(-1, taken).squeeze(-1)
            following = self._following(batch, values)
            target = td_targets(batch, following, self.gamma, self.settings.td_lambda)
        return td_loss(q, target, "q")

    def _following(self, batch: Batch, values: Tensor) -> Tensor:
        """The target network's values of the step after each, ``[S, n]``."""
        padded = batch.spread(values)  # [E, T, n]
        following = batch.steps(torch.cat([padded[:, 1:], torch.zeros_like(padded[:, :1])], 1))
        cut = cut_off(batch)
        if bool(cut.any()):
            then = batch.next[cut]
            probs = log_softmax(self.logits(batch)[then], batch.avail[then]).exp()
            greedy = probs.argmax(-1)
            inputs = self.critic_inputs(batch.state[then], batch.obs[then], greedy)
            following[cut] = (probs * self.target_critic(inputs)).sum(-1)
        return following

    @torch.no_grad()
    def advantages(self, batch: Batch, log_probs: Tensor) -> Tensor:
        """A_i of the actions taken, ``[S, n]``, for log pi of all actions ``[S, n, a]``."""
        q = self.critic(self._inputs(batch))  # [S, n, a]
        taken = q.gather(-1, batch.actions[..., None]).squeeze(-1)
        return taken - (log_probs.exp() * q).sum(-1)

    def actor_loss(self, batch: Batch) -> Loss:
        log_probs = self.log_probs(batch)
        advantage = self.advantages(batch, log_probs)
        chosen = log_probs.gather(-1, batch.actions[..., None]).squeeze(-1)
        h = entropy(log_probs).mean()
        value = -(advantage * chosen).mean() - self.settings.entropy * h
        return Loss(value, {"entropy": h, "advantage_abs": advantage.abs().mean()})

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.critic, self.target_critic)]
