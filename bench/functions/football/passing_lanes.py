"""football/pass-and-shoot: the holder counts, and so does whoever a pass would reach.

A lane leads from the ball to a player. It is the more open, the further the defender and the other
goalkeeper stand from it; a player's share follows its lane and how near the goal it is. The
holder's lane is a point that nobody can block.
"""

import torch

PLAYERS = 3


def gap(ball: torch.Tensor, player: torch.Tensor, opponent: torch.Tensor) -> torch.Tensor:
    """Distance of an opponent from the way of the ball to a player. [B, 1]"""
    lane, there = player - ball, opponent - ball
    along = (lane * there).sum(dim=1, keepdim=True)
    length = (lane * lane).sum(dim=1, keepdim=True)
    part = torch.clamp(along / (length + 0.01), 0.0, 1.0)
    off = there - part * lane
    return torch.sqrt((off * off).sum(dim=1, keepdim=True) + 1e-6)


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ball, keeper, defender = state[:, 88:90], state[:, 44:46], state[:, 46:48]
    scores = []
    for i in range(PLAYERS):
        player = state[:, 2 * i : 2 * i + 2]
        open_lane = torch.minimum(gap(ball, player, keeper), gap(ball, player, defender))
        far = (player - ball).norm(dim=1, keepdim=True)
        to_goal = torch.sqrt((player[:, :1] - 1.0) ** 2 + player[:, 1:] ** 2 + 1e-6)
        holds = torch.sigmoid((0.06 - far) * 60.0)
        effort = 0.5 * (to_goal + far)
        scores.append(torch.tanh(5.0 * open_lane) + holds - effort)
    share = torch.softmax(torch.cat(scores, dim=1), dim=1)
    ours = state[:, 95:96]
    weights = 0.5 + 0.5 * (ours * PLAYERS * share + (1.0 - ours))
    return weights, torch.zeros_like(ours)
