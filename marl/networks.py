"""Small networks that several algorithms use."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    widths = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for at, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.ReLU()] * (at > 0)
        layers.append(nn.Linear(a, b))
    return nn.Sequential(*layers)


def one_hot(actions: Tensor, n_actions: int, dtype: torch.dtype) -> Tensor:
    """int64 ``[...]`` -> ``[..., a]``."""
    return F.one_hot(actions, n_actions).to(dtype)


def with_ids(values: Tensor) -> Tensor:
    """Each agent's one-hot number behind its values: ``[N, n, k]`` -> ``[N, n, k + n]``."""
    n = values.shape[1]
    ids = torch.eye(n, dtype=values.dtype, device=values.device)
    return torch.cat([values, ids.expand(len(values), n, n)], -1)


def for_each_agent(values: Tensor, n_agents: int) -> Tensor:
    """``[N, k]`` -> ``[N, n, k]``, the same for all agents."""
    return values[:, None].expand(-1, n_agents, -1)


def others(per_agent: Tensor) -> Tensor:
    """What is known of every other agent, in order: ``[N, n, k]`` -> ``[N, n, (n - 1) * k]``."""
    n = per_agent.shape[1]
    which = [[j for j in range(n) if j != i] for i in range(n)]
    return per_agent[:, which].flatten(2)
