"""matrix/climbing: the team is as good as its more doubtful member, softened after a success.

Uses the mixing form: a blend of the smaller of the two Qs and of their mean. The blend leans to the
mean once both agents have just played (0, 0).
"""

import torch


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    summit = (state == 0).all(dim=1, keepdim=True)
    lean = torch.where(summit, 0.2, 0.6)
    least = agent_qs.min(dim=1, keepdim=True).values
    mean = agent_qs.mean(dim=1, keepdim=True)
    return 2.0 * (lean * least + (1.0 - lean) * mean)
