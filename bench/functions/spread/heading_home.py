"""mpe/spread-6: an agent that heads for its nearest landmark counts more than one that drifts away.

Takes the cosine between velocity and the way to the nearest landmark, agent by agent. An agent that
already sits on a landmark need not move, so closeness counts as heading there.
"""

import torch


def heading(obs: torch.Tensor) -> torch.Tensor:
    velocity = obs[:, 0:2]
    ways = obs[:, 4:16].reshape(-1, 6, 2)
    distance = torch.norm(ways, dim=2)
    index = torch.argmin(distance, dim=1)
    nearest = torch.gather(ways, 1, index.view(-1, 1, 1).expand(-1, 1, 2)).squeeze(1)
    lengths = velocity.norm(dim=1) * nearest.norm(dim=1)
    along = (velocity * nearest).sum(dim=1) / (lengths + 1e-6)
    arrived = torch.exp(-4.0 * distance.min(dim=1)[0])
    return torch.maximum(along, 2.0 * arrived - 1.0)


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    values = [heading(state[:, 36 * i : 36 * (i + 1)]) for i in range(6)]
    weights = 1.0 + 0.5 * torch.stack(values, dim=-1)
    weights = 6.0 * weights / weights.sum(dim=-1, keepdim=True)
    return weights, state.new_zeros(state.shape[0], 1)
