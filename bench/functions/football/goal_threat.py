"""football/academy-3-vs-1: near the goal, the attacker in front counts most.

Far out, all three share evenly; near the goal the share follows how far forward each of them is and
how free the way past the keeper is.
"""

import torch


def tfcaf(state: torch.Tensor):  # type: ignore[no-untyped-def]
    B = state.shape[0]
    obs = state.view(B, 3, 115)
    ball = obs[:, 0, 88:91]
    to_goal = torch.sqrt((ball[:, 0] - 1.0) ** 2 + ball[:, 1] ** 2 + 1e-6)
    danger = torch.sigmoid((0.4 - to_goal) * 8.0).unsqueeze(1)

    attackers = obs[:, 0, 2:8].view(B, 3, 2)
    defender = obs[:, 0, 46:48].unsqueeze(1)
    free = (attackers - defender).norm(dim=-1).clamp(0.0, 1.0)
    forward = attackers[:, :, 0].clamp(-1.0, 1.0)
    pointed = torch.softmax(2.0 * forward + free, dim=1)

    weights = 3.0 * (danger * pointed + (1.0 - danger) / 3.0)
    in_play = obs[:, 0, 108:109]
    bias = 0.1 * danger * in_play
    return weights, bias
