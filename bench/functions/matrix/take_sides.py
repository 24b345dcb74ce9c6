"""matrix/penalty-25: an agent that took a side last time leads, the other follows.

Both agents want opposite sides. Whoever already stands on one (action 0 or 2) gets the larger
share, as long as the other does not stand on the same one.
"""

import torch


def tfcaf(state):  # type: ignore[no-untyped-def]
    mine = state[:, 0:1]
    yours = state[:, 1:2]
    weights = torch.ones_like(state)

    on_side_0 = ((mine == 0) | (mine == 2)).float()
    on_side_1 = ((yours == 0) | (yours == 2)).float()
    clash = (mine == yours).float() * on_side_0

    weights[:, 0:1] += 0.5 * on_side_0 - 0.4 * clash
    weights[:, 1:2] += 0.5 * on_side_1 - 0.4 * clash
    weights = 2.0 * weights / weights.sum(dim=1, keepdim=True)

    good = ((mine + yours) == 2).float() * (mine != yours).float()
    bias = 0.5 * good
    return weights, bias
