"""lbf/15x15-4p-3f-2s: players that load the same food together rise together.

Mixing form. Each food gathers the levels of those beside it that chose to load last; a food that is
about to be lifted makes its loaders' Qs count more.
"""

import torch

LOAD = 5


def loaders(state: torch.Tensor, food: int) -> torch.Tensor:
    """Who stands beside a food and loads, as zeros and ones. [B, 4]"""
    at = 12 + 3 * food
    columns = []
    for i in range(4):
        dx = torch.abs(state[:, 3 * i] - state[:, at])
        dy = torch.abs(state[:, 3 * i + 1] - state[:, at + 1])
        here = torch.logical_and(dx + dy == 1, state[:, at + 2] > 0)
        loads = torch.eq(state[:, 21 + i], LOAD)
        columns.append(torch.logical_and(here, loads).to(state.dtype))
    return torch.stack(columns, dim=1)


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    levels = state[:, 2:12:3]
    weights = torch.ones_like(agent_qs)
    for food in range(3):
        who = loaders(state, food)
        force = (who * levels).sum(dim=1, keepdim=True)
        needed = state[:, 12 + 3 * food + 2].unsqueeze(1).clamp(min=1.0)
        weights = weights + who * torch.clamp(force / needed, max=1.0)
    return (weights * agent_qs).sum(dim=1, keepdim=True)
