"""football/pass-and-shoot: in shooting range only the holder acts, before it the pair builds up.

The nearer the ball is to the goal, the more of the credit goes to the player that has it. Far out
both attackers share it. The own goalkeeper, a pitch away, always has little.
"""

import torch


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ball = state[:, 88:90]
    players = state[:, 0:6].reshape(-1, 3, 2)
    to_ball = (players - ball.unsqueeze(1)).norm(dim=2)
    holder = torch.softmax(-12.0 * to_ball, dim=1)
    up_front = torch.softmax(4.0 * players[:, :, 0], dim=1)

    to_goal = torch.sqrt((ball[:, :1] - 1.0) ** 2 + ball[:, 1:] ** 2 + 1e-6)
    in_range = torch.sigmoid((0.3 - to_goal) * 12.0)
    weights = 0.4 + 1.8 * (in_range * holder + (1.0 - in_range) * up_front)
    return weights, torch.zeros_like(in_range)
