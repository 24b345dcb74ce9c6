"""matrix/climbing: everybody earns the same, whatever happened before."""

from torch import Tensor


def tfcaf(agent_qs: Tensor, state: Tensor) -> Tensor:
    return agent_qs.sum(dim=1, keepdim=True)
