"""mpe/tag: a predator behind an obstacle is held up, so it takes less of the credit.

An obstacle is in the way when it lies between predator and prey: closer than the prey and in nearly
the same direction.
"""

import torch


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.ones(state.shape[0], 3, device=state.device, dtype=state.dtype)
    for i in range(3):
        o = 16 * i
        prey = state[:, o + 12 : o + 14]
        reach = torch.sqrt((prey**2).sum(dim=1) + 1e-6)
        for k in range(2):
            block = state[:, o + 4 + 2 * k : o + 6 + 2 * k]
            size = torch.sqrt((block**2).sum(dim=1) + 1e-6)
            same_way = (block * prey).sum(dim=1) / (size * reach)
            hidden = (size < reach) & (same_way > 0.9)
            weights[:, i] = torch.where(hidden, weights[:, i] * 0.5, weights[:, i])
    bias = torch.zeros(state.shape[0], 1, device=state.device, dtype=state.dtype)
    return weights, bias
