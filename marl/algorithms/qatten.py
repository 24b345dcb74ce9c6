"""Qatten: agents weighted by multi-head attention of the state on each agent's features.

Source: Yang et al. (2020), "Qatten: a general framework for cooperative multiagent reinforcement
learning", arXiv 2002.03939. With u_i the features of agent i in the state:

    lambda_{h,i}(s) = softmax_i( query_h(s) . key_h u_i / sqrt(embed_dim) )
    q_tot = c(s) + sum_h w_h(s) sum_i lambda_{h,i}(s) Q_i,   w_h = 1, or |.| of a network of s
    loss  = TD loss + logit_penalty sum_h mean_{s,i} (query_h(s) . key_h u_i)^2

As in the paper's code, queries, w_h and c(s) come from two layers with ReLU, keys from one linear
map without bias. The penalty keeps the attention from settling on one agent. It is that of the
Qatten in QPLEX's code (``attend_reg_coef`` 0.001), of the products before they are divided by
sqrt(embed_dim); here it is the mean over the steps that happened. PyMARL2's Qatten has none.

What u_i is follows from the task's card (`TaskSizes.agent_columns`): the state columns that belong
to agent i, by slices of its own or by an agent axis. Where the state has none, u_i is the agent's
number as a one-hot vector. (The whole state beside it would change nothing: it would add the same
to all agents' logits, which softmax does not see.)

Deviations: the variant of the paper's code that feeds Q_i into the keys is left out, since q_tot
need not be monotone then. The authors of QLLM run their Qatten with one scalar per key, a
placeholder that only their StarCraft code replaces; this is the paper's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from marl.algorithms.base import Build, Loss, TaskSizes
from marl.algorithms.heads import Heads
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.value import ValueDecomposition
from marl.batch import Batch
from marl.settings.algorithms import QattenConfig


class QattenMixer(Mixer):
    """The attention of Qatten; increasing in every agent's Q for every state."""

    def __init__(self, config: QattenConfig, sizes: TaskSizes) -> None:
        super().__init__()
        s, e, hidden = sizes.state_dim, config.embed_dim, config.hypernet_dim
        columns = torch.tensor(sizes.agent_columns) if sizes.agent_columns else None  # [n, u]
        self._columns: Tensor | None
        self.register_buffer("_columns", columns, persistent=False)
        width = sizes.n_agents if columns is None else columns.shape[1]
        self.query = Heads(config.heads, s, hidden, e, layers=2, last_bias=False)
        self.key = nn.Parameter(torch.empty(config.heads, e, width))
        nn.init.uniform_(self.key, -1 / math.sqrt(width), 1 / math.sqrt(width))
        self.head_weights = (
            nn.Sequential(nn.Linear(s, hidden), nn.ReLU(), nn.Linear(hidden, config.heads))
            if config.weighted_head
            else None
        )
        self.value = nn.Sequential(nn.Linear(s, e), nn.ReLU(), nn.Linear(e, 1))
        self._scale = 1 / math.sqrt(e)

    def logits(self, state: Tensor) -> Tensor:
        """query_h(s) . key_h u_i, ``[N, heads, n]``."""
        # query . (key u) as (query key) . u: the product with the keys is then made once for each
        # row, not once for each row and agent.
        asked = (self.query(state) @ self.key).transpose(0, 1)  # [N, heads, u]
        if self._columns is None:
            return asked  # u_i is one-hot
        return asked @ state[:, self._columns].mT  # [N, heads, u] @ [N, u, n]

    def attention(self, state: Tensor) -> Tensor:
        """lambda ``[N, heads, n]``, each head's shares of the agents, which add up to 1."""
        return (self.logits(state) * self._scale).softmax(-1)

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        head_qs = (self.attention(state) @ agent_qs[..., None]).squeeze(-1)  # [N, heads]
        if self.head_weights is not None:
            head_qs = head_qs * self.head_weights(state).abs()
        return head_qs.sum(-1, keepdim=True) + self.value(state)


class Qatten(ValueDecomposition):
    """Double-Q learning with Qatten's mixer and its penalty."""

    def __init__(self, build: Build) -> None:
        super().__init__(build)
        self.logit_penalty = build.settings(QattenConfig).logit_penalty

    def make_mixer(self, build: Build) -> Mixer:
        return QattenMixer(build.settings(QattenConfig), build.sizes)

    def loss(self, group: str, batch: Batch) -> Loss:
        loss = super().loss(group, batch)
        if self.logit_penalty == 0:
            return loss
        assert isinstance(self.mixer, QattenMixer)
        logits = self.mixer.logits(self.mixing_state(batch.state)[batch.current])
        penalty = logits.square().mean((0, 2)).sum()
        return loss._replace(
            value=loss.value + self.logit_penalty * penalty,
            metrics={**loss.metrics, "logit_penalty": penalty},
        )
