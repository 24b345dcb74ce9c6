"""mpe/spread-6: every landmark divides one unit of credit among the agents, by closeness.

A landmark that is covered gives its unit to whoever covers it; a landmark far from everybody
spreads it evenly. An agent's weight is what it collects from all landmarks, plus a little for all.
"""

import torch
from torch import Tensor

N = 6


def observations(state: Tensor) -> Tensor:
    parts = torch.split(state, 36, dim=1)
    return torch.stack(parts, dim=1)


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    obs = observations(state)
    offsets = obs[:, :, 4:16].unflatten(-1, (N, 2))
    distance = torch.sqrt(offsets.pow(2).sum(-1) + 1e-6)  # [B, agents, landmarks]
    duty = torch.softmax(-3.0 * distance, dim=1)
    weights = 0.8 * duty.sum(dim=2) + 0.2
    free = torch.sigmoid(4.0 * (distance.amin(dim=1) - 0.5))
    bias = -0.05 * free.sum(dim=1, keepdim=True)
    return weights, bias
