"""football/3-vs-1: near the goal, the attacker in front counts most.

Far out, all four share evenly; near the goal the share follows how far forward each of them is and
how free of the defender, so that the goalkeeper at the other end has hardly any.
"""

import torch


def tfcaf(state: torch.Tensor):  # type: ignore[no-untyped-def]
    B = state.shape[0]
    ball = state[:, 88:90]
    to_goal = torch.sqrt((ball[:, 0] - 1.0) ** 2 + ball[:, 1] ** 2 + 1e-6)
    danger = torch.sigmoid((0.4 - to_goal) * 8.0).unsqueeze(1)

    players = state[:, 0:8].view(B, 4, 2)
    defender = state[:, 46:48].unsqueeze(1)
    free = (players - defender).norm(dim=-1).clamp(0.0, 0.5)
    forward = players[:, :, 0].clamp(-1.0, 1.0)
    pointed = torch.softmax(2.0 * forward + free, dim=1)

    weights = 4.0 * (danger * pointed + (1.0 - danger) / 4.0)
    in_play = state[:, 108:109]
    bias = 0.1 * danger * in_play
    return weights, bias
