"""football/counterattack-easy: on the counter the holder counts, and who runs ahead of the ball.

The mark in an agent's observation says which of the eleven players it has just now.
"""

import torch

WIDTH, AGENTS = 115, 4


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    near, ahead = [], []
    ball = state[:, 88:90]
    for i in range(AGENTS):
        obs = state[:, WIDTH * i : WIDTH * (i + 1)]
        mark = obs[:, 97:108].unsqueeze(2)
        place = (obs[:, 0:22].reshape(-1, 11, 2) * mark).sum(dim=1)
        run = (obs[:, 22:44].reshape(-1, 11, 2) * mark).sum(dim=1)
        near.append((place - ball).norm(dim=1))
        ahead.append(place[:, 0] - ball[:, 0] + 20.0 * run[:, 0])
    holder = torch.softmax(-10.0 * torch.stack(near, dim=1), dim=1)
    runner = torch.softmax(2.0 * torch.stack(ahead, dim=1), dim=1)
    ours = state[:, 95:96]
    weights = 0.5 + ours * (1.4 * holder + 0.6 * runner) + (1.0 - ours) * 0.5
    return weights, torch.zeros_like(ours)
