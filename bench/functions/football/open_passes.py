"""football/3-vs-1: a team is as good as its open passes.

Mixing form: each player's Q is weighed by how far opponents are from it; two attackers that are
both open and apart add a share of the smaller of their Qs.
"""

import torch

PLAYERS = 4


def openness(obs: torch.Tensor, player: int) -> torch.Tensor:
    """Distance to the nearer of keeper and defender, from 0 to 1. [B, 1]"""
    place = obs[:, 2 * player : 2 * player + 2]
    keeper, defender = obs[:, 44:46], obs[:, 46:48]
    nearest = torch.minimum(
        torch.linalg.vector_norm(place - keeper, dim=1, keepdim=True),
        torch.linalg.vector_norm(place - defender, dim=1, keepdim=True),
    )
    return torch.tanh(nearest * 3.0)


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    obs = state[:, :115]
    free = torch.cat([openness(obs, p) for p in range(PLAYERS)], dim=1)
    total = ((0.5 + free) * agent_qs).sum(dim=1, keepdim=True)
    for a in range(1, PLAYERS):  # the goalkeeper is too far away for a pass
        for b in range(a + 1, PLAYERS):
            link = free[:, a : a + 1] * free[:, b : b + 1]
            weaker = torch.minimum(agent_qs[:, a : a + 1], agent_qs[:, b : b + 1])
            total = total + 0.2 * link * weaker
    return total
