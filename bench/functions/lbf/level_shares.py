"""lbf/10x10-3p-3f-2s: credit by level, the more so the stronger the food that is left.

When only weak food is left, one player is enough and all count alike; strong food needs strong
players.
"""

import torch


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    levels = state[:, [2, 5, 8]]
    food_levels = state[:, [11, 14, 17]]

    share = levels / levels.sum(dim=1, keepdim=True).clamp(min=1.0)
    demand = food_levels.max(dim=1, keepdim=True).values / 6.0
    even = torch.full_like(share, 1.0 / 3.0)
    weights = 3.0 * (demand * share + (1.0 - demand) * even)

    left = (food_levels > 0).float().sum(dim=1, keepdim=True)
    bias = 0.02 * (3.0 - left)
    return weights, bias
