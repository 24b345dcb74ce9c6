"""Rules for operations that fold dimensions, normalise along one, or multiply matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.domain import (
    INF,
    Abstract,
    Interval,
    any_along,
    known,
    point,
    sum_along,
)
from sandbox.prover.interpreter import Context, rule
from sandbox.prover.pointwise import plus, times, truth
from sandbox.prover.structural import move


def _dims(x: Abstract, dim: Any) -> list[int] | None:
    """Dimensions as non-negative numbers; None where the batch is among them."""
    rank = len(x.shape)
    if dim is None or dim == []:
        chosen = list(range(rank))
    else:
        chosen = [d % max(1, rank) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    if x.batch_axis is not None and x.batch_axis in chosen:
        return None
    return [d for d in chosen if rank]


def _summed(c: Context, x: Abstract, dims: list[int], keepdim: bool) -> Abstract:
    slope = None
    if x.slope is not None:
        slope = sum_along(x.slope, [d + 1 for d in dims], keepdim, c.reading)
    return known(
        sum_along(x.value, dims, keepdim, c.reading),
        c.result_axis,
        slope,
        any_along(x.curved, dims, keepdim),
        any_along(x.bad, dims, keepdim),
    )


@rule("sum.default", "sum.dim_IntList")
def _sum(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Abstract:
    dims = _dims(x, dim)
    return c.unknown() if dims is None else _summed(c, x, dims, keepdim)


@rule("mean.default", "mean.dim")
def _mean(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Abstract:
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    count = math.prod(x.shape[d] for d in dims)
    if not count:
        return c.unknown()
    return times(c, _summed(c, x, dims, keepdim), c.literal(1.0 / count))


def _extreme(c: Context, x: Abstract, dims: list[int], keepdim: bool, upper: bool) -> Abstract:
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
    return known(value, c.result_axis, slope, curved, any_along(x.bad, dims, keepdim))


@rule("amax.default", "max.default")
def _amax(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = _dims(x, dim)
    return c.unknown() if dims is None else _extreme(c, x, dims, keepdim, True)


@rule("amin.default", "min.default")
def _amin(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = _dims(x, dim)
    return c.unknown() if dims is None else _extreme(c, x, dims, keepdim, False)


def _places(c: Context, x: Abstract, out: Abstract, size: int) -> Abstract:
    """Computed places along a dimension of ``size``; they jump with Q."""
    zero = torch.zeros(out.shape, dtype=torch.float64)
    places = known(Interval(zero, zero + size - 1), c.result_axis)
    return places if x.slope is None else jump_all(c, places)


def jump_all(c: Context, out: Abstract) -> Abstract:
    """``out`` with unbounded slope everywhere."""
    wide = torch.full((c.n_agents, *out.shape), INF, dtype=torch.float64)
    return known(
        out.value, out.batch_axis, Interval(-wide, wide), torch.ones_like(out.curved), out.bad
    )


def _with_place(upper: bool) -> Callable[..., Any]:
    def apply(c: Context, x: Abstract, dim: int, keepdim: bool = False) -> Any:
        dims = _dims(x, dim)
        if dims is None:
            return c.unknown(0), c.unknown(1)
        out = _extreme(c, x, dims, keepdim, upper)
        return out, _places(c, x, out, x.shape[dims[0]] if dims else 1)

    return apply


rule("max.dim")(_with_place(True))
rule("min.dim")(_with_place(False))


@rule("argmax.default", "argmin.default")
def _argmax(c: Context, x: Abstract, dim: int | None = None, keepdim: bool = False) -> Abstract:
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    out = point(torch.zeros(c.result_shape), c.result_axis)
    return _places(c, x, out, math.prod(x.shape[d] for d in dims))


@rule("median.dim")
def _median(c: Context, x: Abstract, dim: int, keepdim: bool = False) -> Any:
    dims = _dims(x, dim)
    if dims is None or not dims:
        return c.unknown(0), c.unknown(1)
    hull = _extreme(c, x, dims, keepdim, True)
    value = Interval(
        x.value.lo.median(dims[0], keepdim).values, x.value.hi.median(dims[0], keepdim).values
    )
    out = known(value, hull.batch_axis, hull.slope, hull.curved, hull.bad)
    return out, _places(c, x, out, x.shape[dims[0]])


@rule("any.default", "any.dim", "any.dims", "all.default", "all.dim", "all.dims")
def _truths(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False) -> Abstract:
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    true = ((x.value.lo > 0) | (x.value.hi < 0)) & ~x.bad
    false = (x.value.lo == 0) & (x.value.hi == 0) & ~x.bad
    if c.op.startswith("aten.any"):
        out = truth(c, any_along(true, dims, keepdim), ~any_along(~false, dims, keepdim))
    else:
        out = truth(c, ~any_along(~true, dims, keepdim), any_along(false, dims, keepdim))
    return out if x.slope is None else jump_all(c, out)


@rule("prod.default", "prod.dim_int")
def _prod(c: Context, x: Abstract, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Abstract:
    dims = _dims(x, dim)
    if dims is None or len(dims) > 1 or (dims and x.shape[dims[0]] > 64):
        return c.unknown()
    if not dims:
        return x
    parts = [move(c, [x], lambda t, k=k: t[0].select(dims[0], k)) for k in range(x.shape[dims[0]])]
    out = parts[0]
    for part in parts[1:]:
        out = times(c, out, part)
    return move(c, [out], lambda t: t[0].reshape(c.result_shape))


@rule("linalg_vector_norm.default", "norm.ScalarOpt_dim", "norm.Scalar")
def _norm(
    c: Context, x: Abstract, order: float | None = 2, dim: Any = None, keepdim: bool = False,
    dtype: Any = None,
) -> Abstract:  # fmt: skip
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    size = c.apply("abs.default", x)
    if order in (None, 2):
        total = _summed(c, c.apply("square.default", x), dims, keepdim)
        value = Interval(total.value.lo.sqrt(), total.value.hi.sqrt())
        # d|x|/dx_i lies within [-1, 1]: its size is bounded by the sum of the parts' slopes.
        reach = _summed(c, size, dims, keepdim)
        curved = any_along(x.curved | ~x.independent(), dims, keepdim)
        slope = None if reach.slope is None else reach.slope.hull(_flipped(reach.slope))
        bad = any_along(x.bad, dims, keepdim)
        return known(c.reading.outward(value, 2), c.result_axis, slope, curved, bad)
    if order == 1:
        return _summed(c, size, dims, keepdim)
    if order == INF:
        return _extreme(c, size, dims, keepdim, True)
    return c.unknown()


def _flipped(x: Interval) -> Interval:
    most = torch.maximum(x.lo.abs(), x.hi.abs())
    return Interval(-most, most)


@rule("var.correction", "std.correction")
def _variance(
    c: Context, x: Abstract, dim: Any = None, correction: float | None = None, keepdim: bool = False
) -> Abstract:
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    count = math.prod(x.shape[d] for d in dims)
    left = count - (1 if correction is None else correction)
    if left <= 0:
        return c.unknown()
    centre = _summed(c, x, dims, True)
    centre = times(c, centre, c.literal(1.0 / count))
    squares = c.apply("square.default", plus(c, x, centre, -1))
    out = times(c, _summed(c, squares, dims, keepdim), c.literal(1.0 / left))
    if c.op == "aten.std.correction":
        out = c.apply("sqrt.default", out)
    return out


@rule("logsumexp.default")
def _logsumexp(c: Context, x: Abstract, dim: Any, keepdim: bool = False) -> Abstract:
    dims = _dims(x, dim)
    if dims is None:
        return c.unknown()
    value = Interval(x.value.lo.logsumexp(dims, keepdim), x.value.hi.logsumexp(dims, keepdim))
    slope = None
    curved = any_along(x.curved | ~x.independent(), dims, keepdim)
    if x.slope is not None:
        # A mean of the slopes with non-negative weights that sum to one.
        at = [d + 1 for d in dims]
        slope = Interval(x.slope.lo.amin(at, keepdim=keepdim), x.slope.hi.amax(at, keepdim=keepdim))
    return known(
        c.reading.outward(value, 16), c.result_axis, slope, curved, any_along(x.bad, dims, keepdim)
    )


# ---- along one dimension, shape kept -------------------------------------------------------------


@rule("_softmax.default")
def _softmax(c: Context, x: Abstract, dim: int, _half: bool = False) -> Abstract:
    dims = _dims(x, dim)
    if dims is None or not dims:
        return c.unknown()
    lo, hi = x.value
    # Smallest where this element is at its lowest and all others at their highest.
    rest_hi = _log_of_the_others(hi, dims[0])
    rest_lo = _log_of_the_others(lo, dims[0])
    value = Interval(
        torch.sigmoid(lo - rest_hi).nan_to_num(nan=0.0), torch.sigmoid(hi - rest_lo).nan_to_num(nan=1.0)
    )
    bad = any_along(x.bad, dims, True).expand(x.shape)
    out = known(c.reading.outward(value, 64), c.result_axis, bad=bad)
    # softmax is at most one also in floating point
    out = known(Interval(out.value.lo, out.value.hi.clamp(max=1.0 + 1e-6)), out.batch_axis, bad=bad)
    return out if x.slope is None else jump_all(c, out)


def _log_of_the_others(t: Tensor, dim: int) -> Tensor:
    """log sum exp over a dimension without the element itself."""
    size = t.shape[dim]
    if size == 1:
        return torch.full_like(t, -INF)
    keep = ~torch.eye(size, dtype=torch.bool)
    moved = t.movedim(dim, -1).unsqueeze(-2).expand(*t.movedim(dim, -1).shape[:-1], size, size)
    others = torch.where(keep, moved, -INF).logsumexp(-1)
    return others.movedim(-1, dim)


@rule("_log_softmax.default")
def _log_softmax(c: Context, x: Abstract, dim: int, _half: bool = False) -> Abstract:
    dims = _dims(x, dim)
    if dims is None or not dims:
        return c.unknown()
    lo, hi = x.value
    rest_hi = _log_of_the_others(hi, dims[0])
    rest_lo = _log_of_the_others(lo, dims[0])
    f = torch.nn.functional.logsigmoid
    value = Interval(
        f(lo - rest_hi).nan_to_num(nan=-INF, neginf=-INF), f(hi - rest_lo).nan_to_num(nan=0.0)
    )
    bad = any_along(x.bad, dims, True).expand(x.shape)
    out = known(c.reading.outward(value, 64), c.result_axis, bad=bad)
    return out if x.slope is None else jump_all(c, out)


@rule("cumsum.default")
def _cumsum(c: Context, x: Abstract, dim: int, dtype: Any = None) -> Abstract:
    dims = _dims(x, dim)
    if dims is None or not dims:
        return c.unknown()
    at = dims[0]
    sums = [
        _summed(c, move(c, [x], lambda t, k=k: t[0].narrow(at, 0, k + 1)), [at], True)
        for k in range(x.shape[at])
    ]
    return move(c, sums, lambda t: torch.cat(t, at))


@rule("sort.default", "sort.stable", "topk.default")
def _sort(c: Context, x: Abstract, *args: Any, **kwargs: Any) -> Any:
    count = None
    largest = bool(kwargs.get("descending", False))
    dim = kwargs.get("dim", -1)
    if c.op == "aten.topk.default":
        count, *rest = args
        dim = rest[0] if rest else -1
        largest = rest[1] if len(rest) > 1 else True
    elif c.op == "aten.sort.default":
        dim = args[0] if args else dim
        largest = args[1] if len(args) > 1 else largest
    dims = _dims(x, dim)
    if dims is None or not dims:
        return c.unknown(0), c.unknown(1)
    at = dims[0]

    def ordered(t: Tensor) -> Tensor:
        out = t.sort(at, descending=largest).values
        return out if count is None else out.narrow(at, 0, count)

    value = Interval(ordered(x.value.lo), ordered(x.value.hi))
    hull = _extreme(c, x, [at], True, True)
    shape = value.lo.shape
    slope = None
    if hull.slope is not None:
        slope = Interval(
            hull.slope.lo.expand(c.n_agents, *shape), hull.slope.hi.expand(c.n_agents, *shape)
        )
    out = known(value, c.result_axis, slope, hull.curved.expand(shape), hull.bad.expand(shape))
    return out, _places(c, x, out, x.shape[at])


@rule("native_layer_norm.default")
def _layer_norm(
    c: Context, x: Abstract, shape: list[int], weight: Any, bias: Any, eps: float
) -> Any:
    dims = _dims(x, list(range(len(x.shape) - len(shape), len(x.shape))))
    if dims is None or eps <= 0:
        return tuple(c.unknown(k) for k in range(3))
    # |x - mean| / std is at most sqrt(n - 1).
    most = torch.full(x.shape, math.sqrt(max(1, math.prod(shape))), dtype=torch.float64)
    bad = any_along(x.bad, dims, True).expand(x.shape)
    out = known(Interval(-most, most), c.result_axis, bad=bad)
    if x.slope is not None:
        out = jump_all(c, out)
    if weight is not None:
        out = times(c, out, weight)
    if bias is not None:
        out = plus(c, out, bias)
    return out, c.unknown(1), c.unknown(2)


# ---- products of matrices ------------------------------------------------------------------------


def _product(c: Context, a: Abstract, b: Abstract, a_at: int, b_at: int, inner: int) -> Abstract:
    """sum over a shared dimension of a * b, after unsqueezing both to a common shape."""
    left = move(c, [a], lambda t: t[0].unsqueeze(a_at))
    right = move(c, [b], lambda t: t[0].unsqueeze(b_at))
    full = times(c, left, right)
    return _summed(c, full, [inner % len(full.shape)], False)


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
    return _summed(c, times(c, a, move(c, [b], lambda t: t[0].unsqueeze(0))), [1], False)


@rule("addmm.default")
def _addmm(
    c: Context, bias: Abstract, a: Abstract, b: Abstract, beta: float = 1, alpha: float = 1
) -> Abstract:
    product = _mm(c, a, b)
    if product.is_unknown:
        return product
    return plus(c, times(c, bias, c.literal(beta)), product, alpha)


@rule("baddbmm.default")
def _baddbmm(
    c: Context, bias: Abstract, a: Abstract, b: Abstract, beta: float = 1, alpha: float = 1
) -> Abstract:
    product = _bmm(c, a, b)
    if product.is_unknown:
        return product
    return plus(c, times(c, bias, c.literal(beta)), product, alpha)
