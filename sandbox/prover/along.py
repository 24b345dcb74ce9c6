"""Rules for operations along one dimension that keep it: softmax, running sums, sorting."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import plus, steep, times
from sandbox.prover.domain import (
    FLOAT32_MAX,
    INF,
    SMALLEST,
    Abstract,
    Interval,
    all_along,
    any_along,
    known,
)
from sandbox.prover.folding import (
    extreme,
    in_any_order,
    inner_dims,
    jump_all,
    largest,
    places,
    span,
    summed,
)
from sandbox.prover.registry import MAX_ELEMENTS, Context, rule
from sandbox.prover.structural import element, move


def _softmax_range(x: Abstract, dim: int) -> tuple[Interval, Tensor]:
    """Bounds of x - log sum exp(x), and where the result may not be finite.

    Minus infinity (a mask) is no harm as long as some element along the dimension is finite.
    """
    masked = x.bad & ~x.nan & (x.value.hi <= FLOAT32_MAX)
    lo, hi = torch.where(masked, -INF, x.value.lo), x.value.hi
    wrong = any_along(x.bad & ~masked, [dim], True) | all_along(x.bad, [dim], True)
    # Smallest where this element is at its lowest and all others at their highest.
    top, bottom = _odds(lo, hi, dim), _odds(hi, lo, dim)
    # The differences are rounded, by a unit of the larger side.
    room = (lo.abs().maximum(hi.abs())).nan_to_num(posinf=0.0).amax(dim, keepdim=True) * 2.0**-51
    bounds = Interval(
        (top - room).nan_to_num(nan=-INF, neginf=-INF),
        (bottom + room).nan_to_num(nan=INF, posinf=INF),
    )
    return bounds, wrong.expand(x.shape)


def _affordable(x: Abstract, dim: int) -> bool:
    return x.value.lo.numel() * x.shape[dim] <= MAX_ELEMENTS


def _odds(own: Tensor, others: Tensor, dim: int) -> Tensor:
    """own - log sum exp(others) over a dimension, in which the element itself is no other.

    By differences, since the logarithm of a count is lost beside a large number.
    """
    size = own.shape[dim]
    if size == 1:
        return torch.full_like(own, INF)
    keep = ~torch.eye(size, dtype=torch.bool)
    apart = others.movedim(dim, -1).unsqueeze(-2) - own.movedim(dim, -1).unsqueeze(-1)
    return -torch.where(keep, apart, -INF).logsumexp(-1).movedim(-1, dim)


@rule("_softmax.default")
def _softmax(c: Context, x: Abstract, dim: int, _half: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None or not dims or not _affordable(x, dims[0]):
        return c.unknown()
    odds, bad = _softmax_range(x, dims[0])
    # Away from the last dimension the exponentials are added one after another.
    steps = 128 + x.shape[dims[0]]
    value = c.reading.outward(Interval(torch.sigmoid(odds.lo), torch.sigmoid(odds.hi)), steps)
    # softmax is at most one also in floating point
    value = Interval(value.lo, value.hi.clamp(min=1e-300, max=1.0 + 1e-6))
    out = known(value, c.result_axis, bad=bad)
    return out if x.slope is None else jump_all(c, out)


@rule("_log_softmax.default")
def _log_softmax(c: Context, x: Abstract, dim: int, _half: bool = False) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None or not dims or not _affordable(x, dims[0]):
        return c.unknown()
    odds, bad = _softmax_range(x, dims[0])
    f = torch.nn.functional.logsigmoid
    value = c.reading.outward(Interval(f(odds.lo), f(odds.hi).clamp(max=-1e-300)), 64)
    # Near zero the error is that of the logarithm's argument, which is near one.
    slack = 1e-5 + x.shape[dims[0]] * 2.0**-23
    value = c.reading.widen(value, torch.full(x.shape, slack, dtype=torch.float64))
    masked = any_along(x.bad, [dims[0]], True)
    out = known(value, c.result_axis, bad=bad | masked)
    return out if x.slope is None else jump_all(c, out)


@rule("cumsum.default")
def _cumsum(c: Context, x: Abstract, dim: int, dtype: Any = None) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None or not dims:
        return c.unknown()
    at, size = dims[0], x.shape[dims[0]]
    if size * x.value.lo.numel() * (1 + (x.slope is not None) * c.n_agents) > MAX_ELEMENTS:
        return c.unknown()
    # Element k sums the first k + 1: a triangle of copies, summed along its last dimension.
    triangle = torch.ones(size, size, dtype=torch.bool).tril()

    def copies(t: list[Tensor]) -> Tensor:
        spread = t[0].movedim(at, -1).unsqueeze(-2)
        return torch.where(triangle, spread, torch.zeros_like(spread))

    wide = move(c, [x], copies)
    wide = wide.but(whole=wide.whole | ~triangle)
    out = summed(c, wide, [len(wide.shape) - 1], False)
    return move(c, [out], lambda t: t[0].movedim(-1, at))


@rule("cumprod.default")
def _cumprod(c: Context, x: Abstract, dim: int, dtype: Any = None) -> Abstract:
    dims = inner_dims(x, dim)
    if dims is None or not dims or not 0 < x.shape[dims[0]] <= 64:
        return c.unknown()
    at = dims[0]
    parts = [
        move(c, [element(c, x, at, k)], lambda t: t[0].unsqueeze(at)) for k in range(x.shape[at])
    ]
    products = parts[:1]
    for part in parts[1:]:
        products.append(times(c, products[-1], part))
    roomy = [in_any_order(c, p, parts[: k + 1]) for k, p in enumerate(products)]
    return move(c, roomy, lambda t: torch.cat(t, at))


@rule("sort.default", "sort.stable", "topk.default")
def _sort(c: Context, x: Abstract, *args: Any, **kwargs: Any) -> Any:
    count = None
    largest = bool(kwargs.get("descending", False))
    dim = kwargs.get("dim", -1)
    if c.op == "aten.topk.default":
        count, *rest = args
        dim = rest[0] if rest else dim
        largest = rest[1] if len(rest) > 1 else True
        if len(rest) > 2 and not rest[2]:
            return c.unknown(0), c.unknown(1)  # in no order
    elif c.op == "aten.sort.default":
        dim = args[0] if args else dim
        largest = args[1] if len(args) > 1 else largest
    dims = inner_dims(x, dim)
    if dims is None or not dims:
        return c.unknown(0), c.unknown(1)
    at = dims[0]

    def ordered(t: Tensor) -> Tensor:
        out = t.sort(at, descending=largest).values
        return out if count is None else out.narrow(at, 0, count)

    value = Interval(ordered(x.value.lo), ordered(x.value.hi))
    hull = extreme(c, x, [at], True, True)
    wide = span(x, at, True)
    value = Interval(
        torch.where(hull.bad, wide.lo, value.lo), torch.where(hull.bad, wide.hi, value.hi)
    )
    shape = value.lo.shape
    slope = None
    if hull.slope is not None:
        slope = Interval(
            hull.slope.lo.expand(c.n_agents, *shape), hull.slope.hi.expand(c.n_agents, *shape)
        )
    out = known(
        value,
        c.result_axis,
        slope,
        hull.curved.expand(shape),
        hull.bad.expand(shape),
        whole=hull.whole.expand(shape),
    )
    if out.slope is not None:  # where NaN begins, all others move
        out = steep(c, out, out.bad & ~out.independent())
    return out, places(c, x, out, x.shape[at])


@rule("native_layer_norm.default")
def _layer_norm(
    c: Context, x: Abstract, shape: list[int], weight: Any, bias: Any, eps: float
) -> Any:
    dims = inner_dims(x, list(range(len(x.shape) - len(shape), len(x.shape))))
    if dims is None or not 1e-30 < eps < INF:
        return tuple(c.unknown(k) for k in range(3))
    if c.reading.float32:
        # Rounding errors of the mean are divided by as little as sqrt(eps).
        most = largest(x, dims, True).expand(x.shape) * (2.01 / math.sqrt(eps)) + SMALLEST
    else:  # |x - mean| / std is at most sqrt(n - 1)
        most = torch.full(x.shape, math.sqrt(max(1, math.prod(shape))), dtype=torch.float64)
    bad = any_along(x.bad, dims, True).expand(x.shape)
    # The kernel adds squares up.
    squares = 4.0 * largest(x, dims, True).square() * math.prod(shape)
    bad = bad | c.overflow(Interval(torch.zeros_like(squares), squares)).expand(x.shape)
    out = known(Interval(-most, most), c.result_axis, bad=bad)
    if x.slope is not None:
        out = jump_all(c, out)
    if weight is not None:
        out = times(c, out, weight)
    if bias is not None:
        out = plus(c, out, bias)
    return out, c.unknown(1), c.unknown(2)
