"""QMIX: a monotone mixing network whose weights are made from the state.

Source: Rashid et al. (2018), "QMIX: monotonic value function factorisation for deep multi-agent
reinforcement learning", figure 2 and appendix. With W1, W2 >= 0 made by hypernetworks from s:

    q_tot = |W2(s)| . ELU(|W1(s)| Q + b1(s)) + V(s)

W1 and W2 come from two-layer hypernetworks (64, ReLU), b1 from one linear layer, V from two layers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.value import ValueDecomposition
from marl.settings.algorithms import QmixConfig


class QmixMixer(Mixer):
    """The mixing network of QMIX; increasing in every agent's Q for every state."""

    def __init__(self, config: QmixConfig, sizes: TaskSizes) -> None:
        super().__init__()
        s, n, m, h = sizes.state_dim, sizes.n_agents, config.mixing_dim, config.hypernet_dim
        self._shape = (n, m)
        self.first_weights = nn.Sequential(nn.Linear(s, h), nn.ReLU(), nn.Linear(h, n * m))
        self.first_bias = nn.Linear(s, m)
        self.last_weights = nn.Sequential(nn.Linear(s, h), nn.ReLU(), nn.Linear(h, m))
        self.value = nn.Sequential(nn.Linear(s, m), nn.ReLU(), nn.Linear(m, 1))

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        first = self.first_weights(state).abs().unflatten(-1, self._shape)  # [N, n, m]
        hidden = F.elu((agent_qs[:, None] @ first).squeeze(1) + self.first_bias(state))  # [N, m]
        last = self.last_weights(state).abs()  # [N, m]
        return (hidden * last).sum(-1, keepdim=True) + self.value(state)


class Qmix(ValueDecomposition):
    """Double-Q learning with QMIX's mixer."""

    def make_mixer(self, build: Build) -> Mixer:
        return QmixMixer(build.settings(QmixConfig), build.sizes)
