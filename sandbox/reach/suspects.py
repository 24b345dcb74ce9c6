"""Pick out, of many inputs, those where a function seems to break a property."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sandbox.claims import Proof
from sandbox.draws import PlacedRow
from sandbox.reach.falls import drawn_rises, falls
from sandbox.reach.probe import gradient_of
from sandbox.reach.reach import Reached
from sandbox.runtime import CreditFunction

_ROWS_AT_ONCE = 1_024
MOST_SUSPECTS = 12
_RISES = (1e-5, 1e-3, 1.0)
"""How far Qs are raised, relative to 1 + |Q|."""
_FROM_BELOW = 1e-3
"""How far below an input Qs are raised to it, relative to 1 + |Q|: some edges are single values."""


def suspects(
    function: CreditFunction, reached: Reached, proof: Proof, monotone: bool
) -> Iterator[PlacedRow]:
    """Rows where the function or its gradient is not finite, or q_tot falls.

    Args:
        function: of a gated graph.
        reached: the inputs.
        proof: what need not be looked at.
        monotone: whether it is asked for.
    """
    monotone = monotone and not proof.monotone
    for inputs, rises in (((reached.agent_qs, reached.states), _RISES), (reached.swept, ())):
        left = MOST_SUSPECTS
        parts = zip(*(x.split(_ROWS_AT_ONCE) for x in inputs), strict=True)
        for qs, state in parts:
            for i, own, rise in _wrong(function, qs, state, monotone, rises, proof.q_bound):
                values = tuple(state[i].tolist()), tuple(own.tolist())
                yield PlacedRow("placed", 0, (), rise, *values)
                left -= 1
                if left == 0:
                    break
            if left == 0:
                break


def _wrong(
    function: CreditFunction, qs: Tensor, state: Tensor, monotone: bool, rises: Sequence[float],
    bound: float,
) -> Iterator[tuple[int, Tensor, float]]:  # fmt: skip
    """Places of wrong rows, each with its Qs and the rise at which it is wrong."""
    leaf = qs.clone().requires_grad_()
    q_tot = function(leaf, state)
    bad = ~torch.isfinite(q_tot[:, 0])
    gradient = torch.zeros_like(qs)
    if q_tot.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(q_tot.sum(), leaf)
            bad = bad | ~torch.isfinite(gradient).all(1)
        except RuntimeError:  # no derivative of some operation: the examples tell
            pass
    yield from ((int(i), qs[i], 1.0) for i in bad.nonzero()[:2, 0])
    if not monotone:
        return
    exact_qs = qs.double().requires_grad_()
    exact = function(exact_qs, state.double())
    if exact.requires_grad:
        slope = gradient_of(exact.sum(), exact_qs).nan_to_num(0.0, 0.0, 0.0)
        steep = slope < -1e-7 * (1 + slope.abs().amax(1, keepdim=True))
        yield from ((int(i), qs[i], 1e-3) for i in steep.any(1).nonzero()[:2, 0])
    q_tot, n = q_tot.detach(), qs.shape[1]
    size = 1 + qs.abs().amax(1, keepdim=True)
    # Where like terms cancel, float32's slope is not the exact one.
    ahead = q_tot + gradient.nan_to_num(0.0, 0.0, 0.0).amin(1, keepdim=True) * size
    steep = falls(function, qs, state, q_tot, ahead, bound)[:, 0]
    yield from ((int(i), qs[i], float(size[i])) for i in steep.nonzero()[:2, 0])
    yield from ((i, qs[i], r) for i, r in drawn_rises(function, qs, state, q_tot, bound))
    if rises:
        yield from _from_below(function, qs, state, q_tot, bound)
    for relative in rises:
        step = relative * (1 + qs.abs().amax(1))
        raised = (qs[:, None] + torch.eye(n) * step[:, None, None]).reshape(-1, n).clamp(max=bound)
        with torch.no_grad():
            after = function(raised, state.repeat_interleave(n, 0)).reshape(-1, n)
        lower = falls(function, qs, state, q_tot, after, bound).any(1)
        yield from ((int(i), qs[i], float(step[i])) for i in lower.nonzero()[:2, 0])


def _from_below(
    function: CreditFunction, qs: Tensor, state: Tensor, q_tot: Tensor, bound: float
) -> Iterator[tuple[int, Tensor, float]]:
    """Rows to which q_tot falls: for each the Qs from which a rise leads to it."""
    n = qs.shape[1]
    # A power of two, so that what was taken away leads back when it is added.
    step = torch.exp2((_FROM_BELOW * (1 + qs.abs().amax(1))).log2().round())
    lower = (qs[:, None] - torch.eye(n) * step[:, None, None]).reshape(-1, n).clamp(min=-bound)
    with torch.no_grad():
        before = function(lower, state.repeat_interleave(n, 0)).reshape(-1, n)
    lowered = falls(function, qs, state, before, q_tot, bound)
    for i, j in lowered.nonzero()[:2].tolist():
        yield i, lower.reshape(-1, n, n)[i, j], float(step[i])
