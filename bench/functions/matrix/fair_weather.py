"""matrix/climbing-weather: agents learn in calm weather, where what is paid tells who earned it.

In a storm the pay-off of one agent's choice depends on the other's, so neither deserves much of it.
"""

from torch import Tensor


def tfcaf(state: Tensor) -> tuple[Tensor, Tensor]:
    calm = 1.0 - state[:, 2:3]
    weights = 0.02 + 0.98 * calm.expand(-1, 2)
    return weights, 0.0 * calm
