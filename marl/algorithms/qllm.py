"""QLLM: a training-free credit assignment function (TFCAF) in the mixing network's place.

Source: Jiang et al. (2025), "QLLM: do we really need a mixing network for credit assignment in
multi-agent reinforcement learning?", arXiv 2504.12961.

    q_tot = f(Q, s),   f written by a coder, without learnable parameters

The function arrives as a finished module with its gate already inside; nothing of the gate is
applied here. Under ``relax`` f need not be monotone, so the agents' individually greedy actions
need not maximise q_tot. With ``maximum=greedy`` targets evaluate that greedy joint action all the
same: it is what the agents will do, and its value is a lower bound of the maximum. With
``maximum=exhaustive`` they look for the true maximum over all joint actions, where there are few
enough of them.
"""

from __future__ import annotations

from marl.algorithms.base import Build
from marl.algorithms.credit import CreditMixer
from marl.algorithms.mixer import Mixer
from marl.algorithms.value import ValueDecomposition
from marl.settings.algorithms import QllmConfig


class Qllm(ValueDecomposition):
    """Double-Q learning with a credit function in the mixer's place."""

    def make_mixer(self, build: Build) -> Mixer:
        assert build.credit is not None  # or it would not have been made
        return CreditMixer(build.sizes, build.credit, build.settings(QllmConfig).maximum)
