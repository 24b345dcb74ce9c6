"""QPLEX: a duplex dueling network, which can represent every q_tot with individual-global-max.

Source: Wang et al. (2021), "QPLEX: duplex dueling multi-agent Q-learning", arXiv 2008.01062,
section 3.2. With the agents' values V_i = max_a Q_i(., a) and w_i(s) > 0:

    Q'_i = w_i(s) Q_i + b_i(s),   V'_i = w_i(s) V_i + b_i(s)               transformation
    q_tot = sum_i Q'_i + sum_i (lambda_i(s, u) - 1) (Q'_i - V'_i)           dueling mixing
    lambda_i(s, u) = sum_k |v_k(s)| sigmoid(phi_{k,i}(s)) sigmoid(lambda_{k,i}(s, u)) > 0

No gradient flows through (Q'_i - V'_i) in the second sum, which the paper found to keep the maximum
stable: the agents learn from the first sum, lambda from the second. Q'_i - V'_i is 0 for an agent's
best action and negative otherwise, and lambda_i > 0, so the agents' own best actions maximise q_tot
whatever lambda is.

w_i and b_i come from two layers (64, ReLU). As in the paper's code, w_i and v_k are made positive
by the absolute value plus 1e-10. That code has a second variant, whose w_i is Qatten's attention;
it is left out.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.heads import Heads
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.value import ValueDecomposition
from marl.settings.algorithms import QplexConfig

_LEAST = 1e-10  # keeps weights above 0


class QplexMixer(Mixer):
    """The dueling mixing of QPLEX; the agents' own best actions are its best joint one."""

    uses_choice: ClassVar[bool] = True

    def __init__(self, config: QplexConfig, sizes: TaskSizes) -> None:
        super().__init__()
        s, n, hidden = sizes.state_dim, sizes.n_agents, config.hypernet_dim
        self._n_actions = sizes.n_actions
        self.weights = nn.Sequential(nn.Linear(s, hidden), nn.ReLU(), nn.Linear(hidden, n))
        self.bias = nn.Sequential(nn.Linear(s, hidden), nn.ReLU(), nn.Linear(hidden, n))
        heads, layers, wide = config.heads, config.advantage_layers, config.advantage_dim
        self.keys = Heads(heads, s, wide, 1, layers)
        self.agents = Heads(heads, s, wide, n, layers)
        self.actions = Heads(heads, s + n * sizes.n_actions, wide, n, layers)

    def importance(self, state: Tensor, actions: Tensor) -> Tensor:
        """lambda ``[N, n]`` of a joint action above 0.

        Args:
            state: ``[N, state_dim]``.
            actions: int64 ``[N, n]``.
        """
        taken = F.one_hot(actions, self._n_actions).flatten(1).to(state.dtype)
        keys = self.keys(state).abs() + _LEAST  # [heads, N, 1]
        agents = self.agents(state).sigmoid()  # [heads, N, n]
        joint = self.actions(torch.cat([state, taken], -1)).sigmoid()
        return (keys * agents * joint).sum(0)

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        if choice is None:
            raise TypeError("QPLEX's q_tot depends on the joint action: `choice` is missing")
        weights = self.weights(state).abs() + _LEAST  # [N, n]
        value = weights * agent_qs + self.bias(state)
        # The biases cancel in Q' - V'.
        advantage = (weights * (agent_qs - choice.best_qs)).detach()
        surplus = (self.importance(state, choice.actions) - 1) * advantage
        return (value + surplus).sum(-1, keepdim=True)


class Qplex(ValueDecomposition):
    """Double-Q learning with QPLEX's mixer."""

    def make_mixer(self, build: Build) -> Mixer:
        return QplexMixer(build.settings(QplexConfig), build.sizes)
