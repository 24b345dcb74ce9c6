"""Rules for operations that fold dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import by_no_known_order, over, plus, times
from sandbox.prover.conditions import settled, truth
from sandbox.prover.domain import (
    FLOAT32_MAX,
    INF,
    REAL,
    SMALLEST,
    Abstract,
    Interval,
    all_along,
    any_along,
    known,
    point,
)
from sandbox.prover.registry import Context, rule
from sandbox.prover.structural import element, move


def inner_dims(x: Abstract, dim: Any) -> list[int] | None:
    """Dimensions as non-negative numbers; None where the batch is among them."""
    rank = len(x.shape)
    if dim is None or dim == []:
        chosen = list(range(rank))
    else:
        chosen = [d % max(1, rank) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    if x.batch_axis is not None and x.batch_axis in chosen:
        return None
    return [d for d in chosen if rank]


def summed(c: Context, x: Abstract, dims: list[int], keepdim: bool) -> Abstract:
    """The sum over dimensions, none of them the batch."""
    slope = None
    if x.slope is not None:
        slope = REAL.sum_along(x.slope, [d + 1 for d in dims], keepdim)
    value = c.reading.sum_along(x.value, dims, keepdim)
    # Any partial sum may be the one that overflows.
    reach = Interval(x.value.lo.clamp(max=0.0), x.value.hi.clamp(min=0.0))
    partial = c.overflow(c.reading.sum_along(reach, dims, keepdim))
    value = Interval(torch.where(partial, -INF, value.lo), torch.where(partial, INF, value.hi))
    return known(
        value,
        c.result_axis,
        slope,
        any_along(x.curved, dims, keepdim),
        any_along(x.bad, dims, keepdim) | partial,
        whole=all_along(x.whole, dims, keepdim),
    )


@rule("sum.default", "sum.dim_IntList")
def _sum(
    c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Abstract:
    dims = inner_dims(x, dim)
    return c.unknown() if dims is None else summed(c, x, dims, keepdim)


@rule("mean.default", "mean.dim")
def _mean(
    c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    count = math.prod(x.shape[d] for d in dims)
    if not count:
        return c.unknown()
    out = over(c, summed(c, x, dims, keepdim), c.literal(count))
    # Some kernels multiply by the rounded 1 / count instead of dividing.
    return out.but(value=c.reading.outward(out.value)) if c.reading.float32 else out


def extreme(c: Context, x: Abstract, dims: list[int], keepdim: bool, upper: bool) -> Abstract:
    """max or min over dimensions: any element's slope may count."""

    def fold(t: Tensor, up: bool, shift: int = 0) -> Tensor:
        at = [d + shift for d in dims]
        if not at:
            return t
        return t.amax(at, keepdim=keepdim) if up else t.amin(at, keepdim=keepdim)

    value = Interval(fold(x.value.lo, upper), fold(x.value.hi, upper))
    count = math.prod(x.shape[d] for d in dims)
    slope = None
    curved = any_along(x.curved, dims, keepdim)
    if x.slope is not None:
        slope = Interval(fold(x.slope.lo, False, 1), fold(x.slope.hi, True, 1))
        if count > 1:
            curved = curved | any_along(~x.independent(), dims, keepdim)
    return known(
        value,
        c.result_axis,
        slope,
        curved,
        any_along(x.bad, dims, keepdim),
        whole=all_along(x.whole, dims, keepdim),
    )


@rule("amax.default", "max.default")
def _amax(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    return c.unknown() if dims is None else extreme(c, x, dims, keepdim, True)


@rule("amin.default", "min.default")
def _amin(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    return c.unknown() if dims is None else extreme(c, x, dims, keepdim, False)


def places(c: Context, x: Abstract, out: Abstract, size: int) -> Abstract:
    """Computed places along a dimension of ``size``; they jump with Q."""
    zero = torch.zeros(out.shape, dtype=torch.float64)
    places = known(Interval(zero, zero + size - 1), c.result_axis)
    return places if x.slope is None else jump_all(c, places)


def jump_all(c: Context, out: Abstract) -> Abstract:
    """``out`` with unbounded slope everywhere."""
    wide = torch.full((c.n_agents, *out.shape), INF, dtype=torch.float64)
    return known(
        out.value,
        out.batch_axis,
        Interval(-wide, wide),
        torch.ones_like(out.curved),
        out.bad,
        whole=out.whole,
    )


def _with_place(upper: bool) -> Callable[..., Any]:
    def apply(c: Context, x: Abstract, dim: int, keepdim: bool = False) -> Any:
        dims = inner_dims(x, dim)
        if dims is None:
            return c.unknown(0), c.unknown(1)
        out = extreme(c, x, dims, keepdim, upper)
        return out, places(c, x, out, x.shape[dims[0]] if dims else 1)

    return apply


rule("max.dim")(_with_place(True))
rule("min.dim")(_with_place(False))


@rule("argmax.default", "argmin.default")
def _argmax(c: Context, x: Abstract, dim: int | None = None, keepdim: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    out = point(torch.zeros(c.result_shape), c.result_axis)
    return places(c, x, out, math.prod(x.shape[d] for d in dims))


def span(x: Abstract, dim: int, keepdim: bool) -> Interval:
    """Bounds of any element along a dimension (one that is NaN upsets their order)."""
    return Interval(x.value.lo.amin(dim, keepdim), x.value.hi.amax(dim, keepdim))


@rule("median.dim")
def _median(c: Context, x: Abstract, dim: int, keepdim: bool = False) -> Any:
    dims = inner_dims(x, dim)
    if dims is None or not dims:
        return c.unknown(0), c.unknown(1)
    hull = extreme(c, x, dims, keepdim, True)
    value = Interval(*(v.contiguous().median(dims[0], keepdim).values for v in x.value))
    wide = span(x, dims[0], keepdim)
    value = Interval(
        torch.where(hull.bad, wide.lo, value.lo), torch.where(hull.bad, wide.hi, value.hi)
    )
    out = known(value, hull.batch_axis, hull.slope, hull.curved, hull.bad)
    return out, places(c, x, out, x.shape[dims[0]])


@rule("any.default", "any.dim", "any.dims", "all.default", "all.dim", "all.dims")
def _truths(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    true, false = settled(x)
    if c.op.startswith("aten.any"):
        out = truth(c, any_along(true, dims, keepdim), ~any_along(~false, dims, keepdim))
    else:
        out = truth(c, ~any_along(~true, dims, keepdim), any_along(false, dims, keepdim))
    if x.slope is None:
        return out
    return _as_its_parts(out, x, dims, keepdim) if x.is_condition else jump_all(c, out)


def _as_its_parts(out: Abstract, x: Abstract, dims: list[int], keepdim: bool) -> Abstract:
    """Any or all of conditions: it changes in a direction in which one of them may change."""
    assert x.slope is not None
    at = [d + 1 for d in dims]
    lo = x.slope.lo.amin(at, keepdim=keepdim) if at else x.slope.lo
    hi = x.slope.hi.amax(at, keepdim=keepdim) if at else x.slope.hi
    still = (out.value.lo == out.value.hi).unsqueeze(0)
    zero = torch.zeros_like(lo)
    slope = Interval(torch.where(still, zero, lo), torch.where(still, zero, hi))
    return known(out.value, out.batch_axis, slope, any_along(x.curved, dims, keepdim))


@rule("prod.default", "prod.dim_int")
def _prod(
    c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None or len(dims) > 1 or (dims and x.shape[dims[0]] > 64):
        return c.unknown()
    if not dims:
        return x
    parts = [element(c, x, dims[0], k) for k in range(x.shape[dims[0]])]
    if not parts:
        return c.unknown()
    out = parts[0]
    for part in parts[1:]:
        out = times(c, out, part)
    out = in_any_order(c, out, parts)
    return move(c, [out], lambda t: t[0].reshape(c.result_shape))


def in_any_order(c: Context, product: Abstract, parts: list[Abstract]) -> Abstract:
    """Room for float32 to multiply in any order: partial products may overflow or vanish."""
    if not c.reading.float32:
        return product
    most = torch.ones_like(product.value.lo)
    for part in parts:
        most = most * part.value.size().clamp(min=1.0)
    slack = most * (SMALLEST * len(parts)) + product.value.size() * (2.0**-23 * len(parts))
    bad = product.bad | ~(most <= FLOAT32_MAX)
    value = c.reading.widen(product.value, slack)
    value = Interval(torch.where(bad, -INF, value.lo), torch.where(bad, INF, value.hi))
    return product.but(value=value, bad=bad)


@rule("linalg_vector_norm.default", "norm.ScalarOpt_dim", "norm.Scalar")
def _norm(
    c: Context, x: Abstract, order: float | None = 2, dim: Any = None, keepdim: bool = False,
    dtype: Any = None,
) -> Abstract:  # fmt: skip
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    size = c.apply("abs.default", x)
    if order in (None, 2):
        total = summed(c, c.apply("square.default", x), dims, keepdim)
        value = Interval(total.value.lo.sqrt(), total.value.hi.sqrt())
        curved = any_along(x.curved | ~x.independent(), dims, keepdim)
        slope = None
        if size.slope is not None:
            # d norm / d |x_i| lies within [0, 1]
            part = Interval(size.slope.lo.clamp(max=0.0), size.slope.hi.clamp(min=0.0))
            slope = REAL.sum_along(part, [d + 1 for d in dims], keepdim)
        # the squares are not scaled before they are summed, so they may overflow
        out = known(c.reading.outward(value, 2), c.result_axis, slope, curved, total.bad)
        return by_no_known_order(c, out)
    if order == 1:
        return summed(c, size, dims, keepdim)
    if order == INF:
        return extreme(c, size, dims, keepdim, True)
    return c.unknown()


@rule("var.correction", "std.correction")
def _variance(
    c: Context, x: Abstract, dim: Any = None, correction: float | None = None, keepdim: bool = False
) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    count = math.prod(x.shape[d] for d in dims)
    left = count - (1 if correction is None else correction)
    if not 0 < left < INF:
        return c.unknown()
    centre = over(c, summed(c, x, dims, True), c.literal(count))
    squares = c.apply("square.default", plus(c, x, centre, -1))
    out = over(c, summed(c, squares, dims, keepdim), c.literal(left))
    # torch sums by Welford's method, whose rounding errors are relative to the terms.
    slack = largest(x, dims, keepdim) ** 2 * (2.0**-22 * (count + 2) ** 2 * count / left)
    room = c.reading.widen(out.value, slack.nan_to_num(posinf=0.0))
    out = out.but(value=Interval(room.lo.clamp(min=0.0), room.hi))
    if c.op == "aten.std.correction":
        out = c.apply("sqrt.default", out)
    return by_no_known_order(c, out)


def largest(x: Abstract, dims: list[int], keepdim: bool) -> Tensor:
    """The largest absolute value over dimensions."""
    return x.value.size().amax(dims, keepdim=keepdim) if dims else x.value.size()


@rule("logsumexp.default")
def _logsumexp(c: Context, x: Abstract, dim: Any, keepdim: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None:
        return c.unknown()
    value = Interval(x.value.lo.logsumexp(dims, keepdim), x.value.hi.logsumexp(dims, keepdim))
    slope = None
    curved = any_along(x.curved | ~x.independent(), dims, keepdim)
    if x.slope is not None:
        # A mean of the slopes with non-negative weights that sum to one.
        at = [d + 1 for d in dims]
        slope = Interval(x.slope.lo.amin(at, keepdim=keepdim), x.slope.hi.amax(at, keepdim=keepdim))
    # Near zero a maximum and a logarithm cancel: the error is relative to those.
    # Of several dimensions the exponentials may be added one after another.
    count = math.prod(x.shape[d] for d in dims)
    slack = (largest(x, dims, keepdim).nan_to_num(posinf=0.0) + 64.0 + count) * 2.0**-22
    value = c.reading.widen(c.reading.outward(value, 16), slack)
    out = known(value, c.result_axis, slope, curved, any_along(x.bad, dims, keepdim))
    return by_no_known_order(c, out)
