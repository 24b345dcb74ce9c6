"""mpe/tag: the predator nearest to the prey leads, the others support it by their own distance."""

import torch
import torch.nn.functional as F


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    prey = torch.stack([state[:, 16 * i + 12 : 16 * i + 14] for i in range(3)], dim=1)
    distance = torch.sqrt(torch.sum(prey * prey, dim=2) + 1e-8)
    weights = 3.0 * F.softmin(distance, dim=1)
    caught = (distance < 0.125).any(dim=1, keepdim=True)
    bias = torch.where(caught, 1.0, 0.0)
    return weights, bias
