"""mpe/spread-3: fast agents are still on their way; the slow ones near landmarks are settled.

Settled agents get a steady weight, travelling ones a weight by how central they are to the team.
"""

import torch


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    obs = state.reshape(-1, 3, 18)
    velocity, position = obs[..., 0:2], obs[..., 2:4]
    speed = velocity.norm(dim=-1)
    centre = position.mean(dim=1, keepdim=True)
    spread = torch.sqrt(((position - centre) ** 2).sum(-1) + 1e-6)

    near = obs[..., 4:10].view(-1, 3, 3, 2).norm(dim=-1).amin(dim=-1)
    settled = (speed < 0.3) & (near < 0.3)
    moving = spread / (spread.sum(dim=1, keepdim=True) + 1e-6) * 3.0
    weights = torch.where(settled, torch.ones_like(moving), 0.5 + 0.5 * moving)
    bias = 0.2 * settled.to(state.dtype).mean(dim=1, keepdim=True)
    return weights, bias
