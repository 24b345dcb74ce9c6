"""matrix/climbing: whoever played it safe counts more, and agreement is worth a bonus."""

import torch
from torch import Tensor


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    last = state[:, 0:2]
    started = (last >= 0).all(dim=1, keepdim=True).to(state.dtype)
    safe = (last == 2).to(state.dtype)
    agreed = (last[:, 0:1] == last[:, 1:2]).to(state.dtype)
    weights = torch.softmax(0.5 * safe + agreed - 0.25 * last, dim=1) * 2.0
    weights = torch.where(started > 0, weights, torch.ones_like(weights))
    bias = 0.1 * agreed * started
    return weights, bias
