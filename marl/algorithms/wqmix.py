"""OW-QMIX and CW-QMIX: QMIX that weighs overestimated joint actions less, with a free critic Q*.

Source: Rashid et al. (2020), "Weighted QMIX: expanding monotonic value function factorisation for
deep multi-agent reinforcement learning", arXiv 2006.10800, equations 4 to 9.

    y = r + gamma (1 - d) Q*'(s', u'),   u' greedy for the online agents
    loss = mean w (Q_tot - y)^2 + mean (Q* - y)^2
    OW: w = 1 where Q_tot < y, else alpha
    CW: w = 1 where u is greedy or y > Q*'(s, greedy u), else alpha

Q* comes from agents of its own and a network without any restriction: three layers of 256 on the
state and their values, plus V(s). A credit function can take the place of Q_tot's mixing network;
Q* is trained all the same.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from marl.algorithms.base import Build, Loss, largest, td_loss
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.qmix import QmixMixer
from marl.algorithms.value import ValueDecomposition, mixed
from marl.batch import Batch
from marl.networks import mlp
from marl.settings.algorithms import QmixConfig, WeightedConfig
from marl.targets import td_targets

WIDTH = 256


class CentralMixer(Mixer):
    """Any function of the agents' values and the state."""

    def __init__(self, n_agents: int, state_dim: int) -> None:
        super().__init__()
        self.joint = mlp(state_dim + n_agents, [WIDTH] * 3, 1)
        self.value = mlp(state_dim, [WIDTH], 1)

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return self.joint(torch.cat([state, agent_qs], -1)) + self.value(state)


class WeightedQmix(ValueDecomposition):
    """What both weightings have in common."""

    central = True
    weighting: Literal["optimistic", "central"]

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.settings, sizes = build.settings(WeightedConfig), build.sizes
        with build.seeded("central"):
            agent = build.make_agent()
            mixer = CentralMixer(sizes.n_agents, sizes.state_dim)
        self.central_agent = agent.to(build.device, build.dtype)
        self.central_mixer = mixer.to(build.device, build.dtype)
        self.target_central_agent = copy.deepcopy(agent).requires_grad_(False)
        self.target_central_mixer = copy.deepcopy(mixer).requires_grad_(False)

    def make_mixer(self, build: Build) -> Mixer:
        return QmixMixer(QmixConfig(), build.sizes)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        central = [*self.central_agent.parameters(), *self.central_mixer.parameters()]
        return {"q": [*super().groups()["q"], *central]}

    def loss(self, group: str, batch: Batch) -> Loss:
        now, then, actions = batch.current, batch.next, batch.actions
        inputs = self.agent.inputs(batch.obs, batch.last_actions)
        state, shown, avail = self.mixing_state(batch.state), self.shown(batch.state), batch.avail
        with torch.no_grad():
            target_qs = self.action_qs(self.target_central_agent, inputs, batch.counts)
        action_qs = self.action_qs(self.agent, inputs, batch.counts)  # [M, n, a]
        central_qs = self.action_qs(self.central_agent, inputs, batch.counts)
        q_tot = mixed(self.mixer, action_qs[now], actions, state[now], avail[now])
        q_star = mixed(self.central_mixer, central_qs[now], actions, shown[now], avail[now])
        with torch.no_grad():
            greedy = self.mixer.greedy_actions(action_qs, avail, state)  # [M, n]
            after = mixed(
                self.target_central_mixer, target_qs[then], greedy[then], shown[then], avail[then]
            )
            target = td_targets(batch, after, self.gamma, self.learner.td_lambda)
            if self.weighting == "optimistic":
                counts = q_tot < target
            else:
                best = mixed(
                    self.target_central_mixer, target_qs[now], greedy[now], shown[now], avail[now]
                )
                counts = (actions == greedy[now]).all(-1, keepdim=True) | (target > best)
            weight = torch.full_like(target, self.settings.alpha).masked_fill(counts, 1)
        loss, central = td_loss(q_tot, target), td_loss(q_star, target)
        return Loss(
            (weight * (q_tot - target).square()).mean() + central.value,
            {**loss.metrics, "q_star_mean": q_star.mean()},
            largest(action_qs, avail),
        )

    def targets(self) -> list[tuple[nn.Module, nn.Module]]:
        return [
            *super().targets(),
            (self.central_agent, self.target_central_agent),
            (self.central_mixer, self.target_central_mixer),
        ]


class Owqmix(WeightedQmix):
    """Optimistic weighting."""

    weighting = "optimistic"


class Cwqmix(WeightedQmix):
    """Central weighting."""

    weighting = "central"
