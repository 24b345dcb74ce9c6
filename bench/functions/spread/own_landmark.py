"""mpe/spread-3: an agent's weight grows as it gets closer to its nearest landmark."""

import torch
from torch import Tensor


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    scores = []
    for i in range(3):
        at = 18 * i
        landmarks = state[:, at + 4 : at + 10].reshape(-1, 3, 2)
        distance = torch.sqrt((landmarks**2).sum(dim=2) + 1e-8)
        scores.append(-distance.min(dim=1).values)
    score = torch.stack(scores, dim=1)
    weights = 3.0 * torch.softmax(score, dim=1)
    bias = torch.zeros(state.shape[0], 1)
    return weights, bias
