"""VDN: q_tot = sum_i Q_i.

Source: Sunehag et al. (2018), "Value-decomposition networks for cooperative multi-agent learning",
equation 1.
"""

from __future__ import annotations

from torch import Tensor

from marl.algorithms.base import Build
from marl.algorithms.mixer import Choice, Mixer
from marl.algorithms.value import ValueDecomposition


class VdnMixer(Mixer):
    """The sum of the agents' Q-values; nothing to learn."""

    def forward(self, agent_qs: Tensor, state: Tensor, choice: Choice | None = None) -> Tensor:
        return agent_qs.sum(-1, keepdim=True)


class Vdn(ValueDecomposition):
    """Double-Q learning with VDN's mixer."""

    def make_mixer(self, build: Build) -> Mixer:
        return VdnMixer()
