"""mpe/spread-3: agents that bump into others lose part of their share.

Mixing form: contact is a soft step at a distance of 0.3 between centres, and an agent's Q is scaled
down by at most a half for its contacts.
"""

import torch

SIZE = 18


def contact(offsets: torch.Tensor) -> torch.Tensor:
    """How much two discs overlap, from 0 to 1, for each other agent. [B, 2]"""
    distance = torch.linalg.norm(offsets, dim=-1)
    return torch.sigmoid((0.3 - distance) * 20.0)


def tfcaf(agent_qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    batch_size = state.size(0)
    q_tot = torch.zeros(batch_size, 1, device=state.device, dtype=agent_qs.dtype)
    for i in range(3):
        obs = state[:, i * SIZE : (i + 1) * SIZE]
        others = obs[:, 10:14].view(batch_size, 2, 2)
        bumps = contact(others).sum(dim=1, keepdim=True)
        factor = 1.0 - 0.25 * bumps
        q_tot = q_tot + factor * agent_qs[:, i : i + 1]
    return q_tot
