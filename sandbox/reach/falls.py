"""Falls of float32's q_tot when an agent's Q rises, by the measure of the state that they are in.

A weight that is large in one state says nothing of another, where it may be next to nothing and
rounding most of what is left. So a fall is held against what all Qs together can do to q_tot in its
own state.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sandbox.runtime import CreditFunction

_LAST_BITS = 2.0**-20
"""Relative to q_tot itself: what the last bits of exponentials and logarithms may take."""
_SHARE = 1e-3
"""Of the difference that all Qs together make in a state."""
_ORDINARY = 1e-4
"""Relative to 1, q_tot and Q together, however much the Qs may do."""

SMALLEST_RISE = 1e-3
"""Of a Q, in its own unit."""
_ROUNDS = 4
"""Rises of one agent's Q that are tried for each row."""


def falls(
    function: CreditFunction, qs: Tensor, state: Tensor, before: Tensor, after: Tensor, bound: float
) -> Tensor:
    """Where q_tot falls by more than rounding explains, bool ``[N, k]``.

    Args:
        function: of a gated graph.
        qs: ``[N, n_agents]`` float32.
        state: ``[N, state_dim]`` float32.
        before: q_tot in float32 ``[N, k]`` or ``[N, 1]``.
        after: the same where an agent's Q is higher, ``[N, k]`` or ``[N, 1]``.
        bound: how large Qs may be.
    """
    size = torch.maximum(before.abs(), after.abs())
    fall = (before - after).nan_to_num(0.0, 0.0, 0.0)
    found = fall > _LAST_BITS * size
    rows = found.any(1).nonzero()[:, 0]
    if len(rows):
        most = _difference(function, state[rows], bound)
        own = 1 + size[rows] + qs[rows].abs().amax(1, keepdim=True)
        room = torch.minimum(_SHARE * most, _ORDINARY * own) + _LAST_BITS * size[rows]
        found[rows] = fall[rows] > room
    return found


def _difference(function: CreditFunction, state: Tensor, bound: float) -> Tensor:
    """How far q_tot ``[N, 1]`` rises in a state from the least to the greatest Qs, in float64."""
    ends = torch.full((2, 1, function.graph.n_agents), bound, dtype=torch.float64)
    ends[0] = -bound
    with torch.no_grad():
        low, high = (function(q.expand(len(state), -1), state.double()) for q in ends)
    return (high - low).abs().nan_to_num(torch.inf)


def drawn_rises(
    function: CreditFunction, qs: Tensor, state: Tensor, q_tot: Tensor, bound: float
) -> Iterator[tuple[int, float]]:
    """Rows at which q_tot falls, each with the rise of some agent's Q that shows it.

    For each row an agent and a rise are drawn a few times, from the smallest rise to the largest
    Q.
    """
    draw = torch.Generator().manual_seed(0)
    rows, n = qs.shape
    orders = torch.tensor(bound / SMALLEST_RISE, dtype=torch.float64).log()
    for _ in range(_ROUNDS):
        agent = torch.randint(n, (rows, 1), generator=draw)
        relative = torch.rand(rows, 1, dtype=torch.float64, generator=draw)
        rise = SMALLEST_RISE * (relative * orders).exp()
        raised = qs.double().scatter_add(1, agent, rise).clamp(max=bound).float()
        with torch.no_grad():
            after = function(raised, state)
        found = falls(function, qs, state, q_tot, after, bound)[:, 0]
        yield from ((int(i), float(rise[i])) for i in found.nonzero()[:2, 0])
