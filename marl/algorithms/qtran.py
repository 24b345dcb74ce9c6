"""QTRAN-base: a free joint value, and a sum of the agents' own that is bound to it at its maximum.

Source: Son et al. (2019), "QTRAN: learning to factorize with transformation for cooperative
multi-agent reinforcement learning", arXiv 1905.05408, equations 4 and 5.

    L_td   = (Q(s, u) - r - gamma (1 - d) Q'(s', u'))^2
    L_opt  = (f(Q_i(u*_i)) - [Q(s, u*)] + V(s))^2
    L_nopt = min(0, f(Q_i(u_i)) - [Q(s, u)] + V(s))^2
    loss   = L_td + opt L_opt + nopt L_nopt,   [.] without gradient, u*, u' greedy for the agents

Q(s, u) is a network of the state and the sum over agents of an encoding of (features of the agent's
network, action), as in EPyMARL. f is the sum, or a credit function.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from marl.algorithms.base import Build, Loss, largest, td_loss
from marl.algorithms.mixer import Mixer
from marl.algorithms.value import ValueDecomposition, mixed
from marl.algorithms.vdn import VdnMixer
from marl.batch import Batch
from marl.networks import mlp, one_hot
from marl.settings.algorithms import QtranConfig
from marl.targets import td_targets


class JointValue(nn.Module):
    """Q(s, u) from the state and each agent's features and action."""

    def __init__(self, state_dim: int, features: int, n_actions: int, width: int) -> None:
        super().__init__()
        each = features + n_actions
        self.encoder = mlp(each, [each], each)
        self.value = mlp(state_dim + each, [width] * 2, 1)
        self._n_actions = n_actions

    def forward(self, state: Tensor, features: Tensor, actions: Tensor) -> Tensor:
        """``[N, 1]`` for state ``[N, s]``, features ``[N, n, h]`` and actions int64 ``[N, n]``."""
        taken = one_hot(actions, self._n_actions, features.dtype)
        encoded = self.encoder(torch.cat([features, taken], -1)).sum(1)
        return self.value(torch.cat([state, encoded], -1))


class Qtran(ValueDecomposition):
    """QTRAN-base."""

    central = True

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings, sizes = build.settings(QtranConfig), build.sizes
        width = self.settings.joint_dim
        with build.seeded("joint"):
            hidden = build.config.agent.hidden
            joint = JointValue(sizes.state_dim, hidden, sizes.n_actions, width)
            value = mlp(sizes.state_dim, [width] * 2, 1)
        self.joint = joint.to(build.device, build.dtype)
        self.value = value.to(build.device, build.dtype)
        self.target_joint = copy.deepcopy(self.joint).requires_grad_(False)

    def make_mixer(self, build: Build) -> Mixer:
        return VdnMixer()

    def groups(self) -> dict[str, list[nn.Parameter]]:
        more = [*self.joint.parameters(), *self.value.parameters()]
        return {"q": [*super().groups()["q"], *more]}

    def loss(self, group: str, batch: Batch) -> Loss:
        now, then, actions = batch.current, batch.next, batch.actions
        inputs = self.agent.inputs(batch.obs, batch.last_actions)
        shown, avail = self.shown(batch.state), batch.avail
        state = self.mixing_state(batch.state)[now]
        features = self.agent.features(inputs, batch.counts)  # [M, n, h]
        action_qs = self.agent.scores(features)
        q = self.joint(shown[now], features[now], actions)
        with torch.no_grad():
            greedy = self.mixer.greedy_actions(action_qs, avail, self.mixing_state(batch.state))
            target_features = self.target_agent.features(inputs, batch.counts)[then]
            after = self.target_joint(shown[then], target_features, greedy[then])
            target = td_targets(batch, after, self.gamma, self.learner.td_lambda)
            best = self.joint(shown[now], features[now], greedy[now])
        value = self.value(shown[now])
        at_best = mixed(self.mixer, action_qs[now], greedy[now], state, avail[now])
        at_taken = mixed(self.mixer, action_qs[now], actions, state, avail[now])
        opt = (at_best - best + value).square().mean()
        nopt = (at_taken - q.detach() + value).clamp(max=0).square().mean()
        loss, settings = td_loss(q, target), self.settings
        return Loss(
            loss.value + settings.opt * opt + settings.nopt * nopt,
            {**loss.metrics, "opt_loss": opt, "nopt_loss": nopt},
            largest(action_qs, avail),
        )

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [*super().targets(), (self.joint, self.target_joint)]
