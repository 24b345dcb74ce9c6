"""lbf/8x8-2p-2f-coop-2s: early on Qs count fully, near the end small ones are pressed together.

Mixing form: with both foods left the sum is kept as it is; with one left each Q passes through a
softplus-like curve, so that a single doubtful player weighs less than a confident pair.
"""

import torch
import torch.nn.functional as F


def tfcaf(agent_qs: torch.Tensor, global_state: torch.Tensor) -> torch.Tensor:
    food_levels = torch.stack([global_state[:, 8], global_state[:, 11]], dim=-1)
    left = (food_levels > 0).sum(dim=-1, keepdim=True).to(agent_qs.dtype) / 2.0
    plain = agent_qs.sum(dim=-1, keepdim=True)
    curved = (F.softplus(agent_qs) + 0.1 * agent_qs).sum(dim=-1, keepdim=True)
    return left * plain + (1.0 - left) * curved
