"""mpe/tag: reward the ring. Predators on different sides of the prey count more than those in line.

For each predator, take the direction from which it comes and compare it with the directions of the
other two: opposite directions close the ring.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    B = state.shape[0]
    to_prey = state.view(B, 3, 16)[:, :, 12:14]
    direction = F.normalize(to_prey, dim=-1, eps=1e-6)
    cosine = torch.bmm(direction, direction.transpose(1, 2)).clamp(-1.0, 1.0)  # [B, 3, 3]
    off = 1.0 - torch.eye(3, device=state.device, dtype=state.dtype)
    alone = 1.0 - (cosine * off).sum(dim=-1) / 2.0  # 0 in line with both, 2 opposite both
    near = 1.0 / (1.0 + to_prey.norm(dim=-1))
    weights = 0.3 + alone * near
    weights = weights * (3.0 / weights.sum(dim=1, keepdim=True))
    return weights, torch.zeros(B, 1, device=state.device, dtype=state.dtype)
