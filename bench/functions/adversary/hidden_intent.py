"""mpe/adversary: trust the pair while the adversary is fooled, the better one once it is not.

Mixing form: a blend of the mean Q and the larger Q. The blend follows how close the adversary is to
the goal compared with the agents.
"""

import torch


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    obs = state.reshape(state.shape[0], 2, 10)
    goal = obs[:, :, 0:2]
    adversary_to_goal = (goal[:, 0] - obs[:, 0, 6:8]).norm(dim=-1, keepdim=True)
    team_to_goal = goal.norm(dim=-1).min(dim=1, keepdim=True).values
    found = torch.sigmoid(team_to_goal - adversary_to_goal)
    mean = agent_qs.mean(dim=1, keepdim=True)
    best = agent_qs.max(dim=1, keepdim=True).values
    return 2.0 * torch.lerp(mean, best, found)
