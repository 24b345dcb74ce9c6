"""VDN: q_tot = sum_i Q_i.

Source: Sunehag et al. (2018), "Value-decomposition networks for cooperative multi-agent learning",
equation 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from marl.algorithms.base import AlgorithmSettings, Choice, Mixer, TaskSizes


class VdnConfig(AlgorithmSettings):
    """VDN has no settings of its own."""

    name: Literal["vdn"] = Field(default="vdn", description="value decomposition by summation")


class VdnMixer(Mixer):
    """The sum of the agents' Q-values; nothing to learn."""

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return agent_qs.sum(-1, keepdim=True)


def make_vdn(config: VdnConfig, sizes: TaskSizes) -> VdnMixer:
    """VDN's mixer, which needs neither settings nor sizes."""
    return VdnMixer()
