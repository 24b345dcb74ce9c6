"""mpe/spread-6: the three agents that cover best speak loudest.

Mixing form: agents are ranked by the distance to their nearest landmark; the Qs of the better half
count one and a half times, those of the others half.
"""

import torch


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    B, n = agent_qs.shape
    distance = torch.zeros(B, n, device=state.device, dtype=state.dtype)
    for i in range(n):
        offsets = state[:, 36 * i + 4 : 36 * i + 16].view(B, n, 2)
        distance[:, i] = (offsets[..., 0] ** 2 + offsets[..., 1] ** 2).min(dim=1).values
    border = distance.sort(dim=1).values[:, 2:3]
    weights = torch.where(distance <= border, 1.5, 0.5)
    return torch.sum(weights * agent_qs, dim=1, keepdim=True)
