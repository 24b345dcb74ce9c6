"""mpe/spread-6: agents in a crowd say little, agents with room around them say much.

Rebuilds all positions, takes the distances of all pairs, and turns the number of close neighbours
into a softmax over the agents. 216 state columns are read as six observations of 36.
"""

import torch
import torch.nn.functional as F

N, WIDTH = 6, 36


def tfcaf(state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    B = state.shape[0]
    obs = state.view(B, N, WIDTH)
    position = obs[:, :, 2:4]
    landmarks = obs[:, :, 4:16].reshape(B, N, N, 2)

    difference = position.unsqueeze(2) - position.unsqueeze(1)  # [B, N, N, 2]
    distance = torch.sqrt((difference**2).sum(dim=-1) + 1e-6)
    itself = torch.eye(N, device=state.device, dtype=state.dtype).unsqueeze(0)
    closeness = torch.exp(-distance / 0.5) * (1.0 - itself)
    crowd = closeness.sum(dim=2)

    to_landmark = landmarks.norm(dim=-1).min(dim=2).values
    score = -0.5 * crowd - 0.5 * to_landmark.clamp(max=4.0)
    weights = N * F.softmax(score, dim=1)

    coverage = landmarks.norm(dim=-1).min(dim=1).values.mean(dim=1, keepdim=True)
    bias = -0.1 * torch.tanh(coverage)
    return weights, bias
