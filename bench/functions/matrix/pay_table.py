"""matrix/climbing: look up what the last joint action paid, and trust the team by it.

The pay-off table is written down once. After a good joint action both agents deserve credit in
equal parts; after a bad one, the agent whose own action is riskier is trusted less.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PAY = [[11.0, -30.0, 0.0], [-30.0, 7.0, 0.0], [0.0, 6.0, 5.0]]
RISK = [1.0, 0.8, 0.1]


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    batch = state.shape[0]
    device, dtype = state.device, state.dtype
    table = torch.tensor(PAY, device=device, dtype=dtype)
    risk = torch.tensor(RISK, device=device, dtype=dtype)

    last = state[:, :2]
    begun = (last[:, 0] >= 0) & (last[:, 1] >= 0)
    index = last.clamp(min=0).long()  # -1 stands for "no action yet"
    first = F.one_hot(index[:, 0], num_classes=3).to(dtype)
    second = F.one_hot(index[:, 1], num_classes=3).to(dtype)

    paid = torch.einsum("bi,ij,bj->b", first, table, second)
    trust = torch.sigmoid(paid / 10.0).unsqueeze(1)
    risks = torch.stack([first @ risk, second @ risk], dim=1)
    weights = trust + (1.0 - trust) * (1.0 - 0.5 * risks)

    even = torch.ones(batch, 2, device=device, dtype=dtype)
    weights = torch.where(begun.unsqueeze(1), weights, even)
    bias = torch.zeros(batch, 1, device=device, dtype=dtype)
    return weights, bias
