"""football/3-vs-1: whoever has the ball earns most while the team has it.

Agent i is player i; the carrier is the player that is closest to the ball.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PLAYERS = 4


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    places = state[:, 0 : 2 * PLAYERS].reshape(-1, PLAYERS, 2)
    ball = state[:, 88:90].unsqueeze(1)
    distance = (places - ball).norm(dim=2)

    ours = state[:, 95:96]  # 1 while the left team has the ball
    carrier = F.softmax(-10.0 * distance, dim=1) * PLAYERS
    weights = ours * (0.5 * carrier + 0.5) + (1.0 - ours)
    bias = torch.zeros(state.shape[0], 1, device=state.device, dtype=state.dtype)
    return weights, bias
