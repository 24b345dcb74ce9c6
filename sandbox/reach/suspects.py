"""Pick out, of many inputs, those where a function seems to break a property."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sandbox.claims import Proof
from sandbox.draws import PlacedRow
from sandbox.reach.probe import gradient_of
from sandbox.reach.reach import Reached
from sandbox.runtime import CreditFunction

_ROWS_AT_ONCE = 1_024
MOST_SUSPECTS = 12
_RISES = (1e-5, 1e-3, 1.0)
"""How far Qs are raised, relative to 1 + |Q|."""


def falls_by_rounding(q_tot: Tensor, agent_qs: Tensor) -> Tensor:
    """How far float32's q_tot ``[N, 1]`` may fall by ordinary rounding when a Q rises."""
    return 1e-4 * (1 + q_tot.abs() + agent_qs.abs().amax(1, keepdim=True))


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
            for i, rise in _wrong(function, qs, state, monotone, rises):
                values = tuple(state[i].tolist()), tuple(qs[i].tolist())
                yield PlacedRow("placed", 0, (), rise, *values)
                left -= 1
                if left == 0:
                    break
            if left == 0:
                break


def _wrong(
    function: CreditFunction, qs: Tensor, state: Tensor, monotone: bool, rises: Sequence[float]
) -> Iterator[tuple[int, float]]:
    """Places of wrong rows, each with the rise at which it is wrong."""
    leaf = qs.clone().requires_grad_()
    q_tot = function(leaf, state)
    bad = ~torch.isfinite(q_tot[:, 0])
    if q_tot.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(q_tot.sum(), leaf)
            bad = bad | ~torch.isfinite(gradient).all(1)
        except RuntimeError:  # no derivative of some operation: the examples tell
            pass
    yield from ((int(i), 1.0) for i in bad.nonzero()[:2, 0])
    if not monotone:
        return
    exact_qs = qs.double().requires_grad_()
    exact = function(exact_qs, state.double())
    if exact.requires_grad:
        slope = gradient_of(exact.sum(), exact_qs)
        steep = slope < -1e-7 * (1 + slope.abs().amax(1, keepdim=True))
        yield from ((int(i), 1e-3) for i in steep.any(1).nonzero()[:2, 0])
    q_tot, n = q_tot.detach(), qs.shape[1]
    for relative in rises:
        step = relative * (1 + qs.abs().amax(1))
        raised = (qs[:, None] + torch.eye(n) * step[:, None, None]).reshape(-1, n)
        with torch.no_grad():
            after = function(raised, state.repeat_interleave(n, 0)).reshape(-1, n)
        falls = (q_tot - after > falls_by_rounding(q_tot, qs)).any(1)
        yield from ((int(i), float(step[i])) for i in falls.nonzero()[:2, 0])
