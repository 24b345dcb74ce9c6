"""lbf/15x15-4p-3f-2s: ask of each player how much its level helps at its nearest food.

Uses argmin and gather. A level beyond what the food needs is not useful; food that is out of reach
(more than eight steps away) hardly matters.
"""

import torch
from torch import Tensor


def split(state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    players = state[:, 0:12].view(-1, 4, 3)
    foods = state[:, 12:21].view(-1, 3, 3)
    return players[..., :2], players[..., 2], foods[..., :2], foods[..., 2]


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    where_p, level_p, where_f, level_f = split(state)
    steps = (where_p.unsqueeze(2) - where_f.unsqueeze(1)).abs().sum(-1)  # [B, 4, 3]
    steps = torch.where(level_f.unsqueeze(1) > 0, steps, torch.full_like(steps, 99.0))

    nearest = steps.argmin(dim=2, keepdim=True)
    distance = steps.gather(2, nearest).squeeze(2)
    needed = level_f.unsqueeze(1).expand(-1, 4, -1).gather(2, nearest).squeeze(2)

    helps = torch.minimum(level_p, needed) / needed.clamp(min=1.0)
    reach = torch.exp(-torch.relu(distance - 1.0) / 8.0)
    weights = 0.5 + helps * reach
    weights = weights / (weights.mean(dim=1, keepdim=True) + 1e-6)
    bias = torch.zeros_like(state[:, :1])
    return weights, bias
