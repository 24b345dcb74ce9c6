"""IQL: independent Q-learning, every agent for itself.

Source: Tan (1993), "Multi-agent reinforcement learning: independent vs. cooperative agents". All
agents are paid the team's reward, as in EPyMARL's common-reward tasks:

    y_i = r + gamma * max_a Q_i'(s'_i, a)   for each agent i alone

or, with ``learner.rewards=individual``, each its own r_i. By default the agents share one network;
Tan's have a table each, which ``agent.share=none`` comes near to.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from marl.algorithms.base import Build
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.value import ValueDecomposition


class IqlMixer(Mixer):
    """Nothing is mixed: each agent's Q-value is regressed alone."""

    per_agent: ClassVar[bool] = True

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return agent_qs


class Iql(ValueDecomposition):
    """Double-Q learning with IQL's mixer."""

    def make_mixer(self, build: Build) -> Mixer:
        return IqlMixer()
