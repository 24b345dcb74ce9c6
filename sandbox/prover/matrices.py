"""Rules for products of matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sandbox.prover.arithmetic import plus, times
from sandbox.prover.domain import INF, SMALLEST, Abstract, Interval
from sandbox.prover.folding import summed
from sandbox.prover.registry import MAX_ELEMENTS, Context, rule
from sandbox.prover.structural import move


def _product(c: Context, a: Abstract, b: Abstract, a_at: int, b_at: int, inner: int) -> Abstract:
    """sum over a shared dimension of a * b, after unsqueezing both to a common shape."""
    terms = math.prod(a.shape) * math.prod(b.shape) // max(1, a.shape[-1])
    depth = 1 + c.n_agents * (a.slope is not None or b.slope is not None)
    if terms * depth > 4 * MAX_ELEMENTS:
        return c.unknown()
    left = move(c, [a], lambda t: t[0].unsqueeze(a_at))
    right = move(c, [b], lambda t: t[0].unsqueeze(b_at))
    full = times(c, left, right)
    return summed(c, full, [inner % len(full.shape)], False)


@rule("bmm.default")
def _bmm(c: Context, a: Abstract, b: Abstract) -> Abstract:
    if a.batch_axis not in (None, 0, 1) or b.batch_axis not in (None, 0, 2):
        return c.unknown()
    return _product(c, a, b, 3, 1, 2)


@rule("mm.default")
def _mm(c: Context, a: Abstract, b: Abstract) -> Abstract:
    if a.batch_axis == 1 or b.batch_axis == 0:
        return c.unknown()
    return _product(c, a, b, 2, 0, 1)


@rule("mv.default")
def _mv(c: Context, a: Abstract, b: Abstract) -> Abstract:
    if a.batch_axis == 1 or b.batch_axis is not None:
        return c.unknown()
    return summed(c, times(c, a, move(c, [b], lambda t: t[0].unsqueeze(0))), [1], False)


@rule("dot.default")
def _dot(c: Context, a: Abstract, b: Abstract) -> Abstract:
    if a.batch_axis is not None or b.batch_axis is not None:
        return c.unknown()
    return summed(c, times(c, a, b), [0], False)


@rule("addmm.default", "baddbmm.default")
def _plus_product(
    c: Context, bias: Abstract, a: Abstract, b: Abstract, beta: float = 1, alpha: float = 1
) -> Abstract:
    if (beta, alpha) != (1, 1):
        return c.unknown()  # in which order a kernel applies them is its own affair
    product = (_mm if c.op == "aten.addmm.default" else _bmm)(c, a, b)
    if product.is_unknown:
        return product
    out = plus(c, bias, product)
    # A kernel may start its sum from the bias.
    size = bias.value.size() + product.value.size() + _absolute_product(c, a, b)
    slack = (size * (2.0**-23 * (a.shape[-1] + 2))).nan_to_num(posinf=0.0)
    value = c.reading.widen(out.value, slack + SMALLEST)
    partial = c.overflow(Interval(-size, size))
    value = Interval(torch.where(partial, -INF, value.lo), torch.where(partial, INF, value.hi))
    return out.but(value=value, bad=out.bad | partial)


def _absolute_product(c: Context, a: Abstract, b: Abstract) -> Tensor:
    """Bounds of the sums of absolute products."""
    return a.value.size() @ b.value.size()
