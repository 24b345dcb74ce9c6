"""Several small networks of one shape over one input, computed as one."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Heads(nn.Module):
    """H networks of one shape: linear layers with ReLU between, none of whose weights is shared.

    The same as H separate ``nn.Sequential`` of ``nn.Linear``, initial distribution included, in as
    many products as one of them takes.

    Args:
        heads: H.
        inputs, hidden, outputs: widths; ``hidden`` counts where there are several layers.
        layers: 1 or more.
        last_bias: whether the last layer has a bias.
    """

    def __init__(
        self,
        heads: int,
        inputs: int,
        hidden: int,
        outputs: int,
        layers: int,
        last_bias: bool = True,
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (layers - 1), outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for at, (wide, narrow) in enumerate(itertools.pairwise(widths)):
            self.weights.append(_uniform(wide, heads, wide, narrow))
            if last_bias or at < layers - 1:
                self.biases.append(_uniform(wide, heads, 1, narrow))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, inputs]`` to ``[H, N, outputs]``."""
        for at, weight in enumerate(self.weights):
            x = F.relu(x) if at else x
            x = x @ weight  # [H, N, narrow]; the first x has no heads yet
            x = x + self.biases[at] if at < len(self.biases) else x
        return x


def _uniform(fan_in: int, *shape: int) -> nn.Parameter:
    """As `nn.Linear` draws weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
