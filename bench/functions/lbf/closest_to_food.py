"""lbf/10x10-3p-3f-2s: a softmax over players of how close the nearest food is.

Food that has been collected is masked out with a large distance, and the whole is mixed with an
even share, so that nobody is ever without credit.
"""

import torch
import torch.nn.functional as F

PLAYERS, FOODS, FAR = 3, 3, 30.0


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    B = state.shape[0]
    players = state[:, : 3 * PLAYERS].reshape(B, PLAYERS, 3)
    foods = state[:, 3 * PLAYERS : 3 * (PLAYERS + FOODS)].reshape(B, FOODS, 3)

    offset = players[:, :, None, :2] - foods[:, None, :, :2]  # [B, players, foods, 2]
    steps = offset.abs().sum(dim=-1)
    gone = foods[:, :, 2] <= 0
    steps = steps.masked_fill(gone[:, None, :], FAR)

    nearest = steps.min(dim=2).values
    sharp = F.softmax(-nearest / 4.0, dim=1)
    weights = PLAYERS * (0.7 * sharp + 0.3 / PLAYERS)
    bias = torch.zeros(B, 1, dtype=state.dtype, device=state.device)
    return weights, bias
