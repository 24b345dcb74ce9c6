"""IQL: independent Q-learning, every agent for itself.

Source: Tan (1993), "Multi-agent reinforcement learning: independent vs. cooperative agents". All
agents are paid the team's reward, as in EPyMARL's common-reward tasks:

    y_i = r + gamma * max_a Q_i'(s'_i, a)   for each agent i alone

Agents share one network here, as everywhere; Tan's have a table each.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from marl.algorithms.base import AlgorithmSettings, Choice, Mixer, TaskSizes


class IqlConfig(AlgorithmSettings):
    """IQL has no settings of its own."""

    name: Literal["iql"] = Field(default="iql", description="independent Q-learning")


class IqlMixer(Mixer):
    """Nothing is mixed: each agent's Q-value is regressed alone."""

    per_agent: ClassVar[bool] = True

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return agent_qs


def make_iql(config: IqlConfig, sizes: TaskSizes) -> IqlMixer:
    """IQL's mixer, which needs neither settings nor sizes."""
    return IqlMixer()
