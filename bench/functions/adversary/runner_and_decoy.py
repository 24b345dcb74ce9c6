"""mpe/adversary: one agent runs to the goal, the other draws the adversary away.

The nearer agent is the runner and earns by closeness to the goal; the other is the decoy and earns
by closeness to the other landmark.
"""

import torch


def decoy_landmark(obs: torch.Tensor) -> torch.Tensor:
    """Distance to the landmark that is not the goal. [B]"""
    goal, landmarks = obs[:, 0:2], obs[:, 2:6].view(-1, 2, 2)
    is_goal = (landmarks - goal.unsqueeze(1)).abs().sum(dim=2) < 1e-4
    distance = landmarks.norm(dim=2)
    return torch.where(is_goal, torch.zeros_like(distance), distance).sum(dim=1)


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = state[:, 0:10], state[:, 10:20]
    goal_distance = torch.stack([first[:, 0:2].norm(dim=1), second[:, 0:2].norm(dim=1)], dim=1)
    decoy_distance = torch.stack([decoy_landmark(first), decoy_landmark(second)], dim=1)

    runs = goal_distance <= goal_distance.min(dim=1, keepdim=True).values
    score = torch.where(runs, torch.exp(-goal_distance), 0.5 * torch.exp(-decoy_distance))
    weights = 0.5 + score
    bias = torch.zeros_like(state[:, 0:1])
    return weights, bias
