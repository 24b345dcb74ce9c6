"""football/academy-3-vs-1: whoever has the ball earns most while the team has it.

Each observation marks its own player among eleven (one-hot); the carrier is the controlled player
that is closest to the ball.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, AGENTS = 115, 3


def own_position(obs: Tensor) -> Tensor:
    left = obs[:, 0:22].reshape(-1, 11, 2)
    active = obs[:, 97:108].unsqueeze(2)
    return (left * active).sum(dim=1)


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    distances = []
    for i in range(AGENTS):
        obs = state[:, WIDTH * i : WIDTH * (i + 1)]
        ball = obs[:, 88:90]
        distances.append((own_position(obs) - ball).norm(dim=1))
    distance = torch.stack(distances, dim=1)

    ours = state[:, 95:96]  # 1 while the left team has the ball
    carrier = F.softmax(-10.0 * distance, dim=1) * AGENTS
    weights = ours * (0.5 * carrier + 0.5) + (1.0 - ours)
    bias = torch.zeros(state.shape[0], 1, device=state.device, dtype=state.dtype)
    return weights, bias
