"""lbf/8x8-2p-2f-coop-2s: judge players by their last action.

A player that loads earns most, one that walks earns its normal share and one that stood still less;
two that load at once earn a bonus. In the first step nobody has acted and all count alike.
"""

import torch

WORTH = {0: 0.6, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.5}


def tfcaf(state: torch.Tensor):  # type: ignore[no-untyped-def]
    last = state[:, -2:]
    weights = torch.ones_like(last)
    for action, worth in WORTH.items():
        weights = torch.where(last == action, torch.full_like(weights, worth), weights)
    both = (last == 5).all(dim=1)
    weights[both] = 2.0
    bias = both.float().unsqueeze(-1) * 0.1
    return weights, bias
