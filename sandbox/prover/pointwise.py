"""Rules for operations whose output element depends on the input elements at its own place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.domain import (
    FLOAT32_MAX,
    INF,
    Abstract,
    Interval,
    add,
    any_slope,
    known,
    multiply,
    negate,
    reciprocal,
)
from sandbox.prover.interpreter import Context, rule

_Map = Callable[[Tensor], Tensor]
_Range = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def combine_bad(*parts: Abstract) -> Tensor:
    """Where any operand may be infinite or NaN."""
    bad = parts[0].bad
    for p in parts[1:]:
        bad = bad | p.bad
    return bad


def through(
    c: Context,
    x: Abstract,
    value: Interval,
    derivative: Interval,
    *,
    bad: Tensor | None = None,
    affine: bool = False,
    steps: int = 4,
) -> Abstract:
    """A function of one operand, by its range and the range of its derivative (chain rule)."""
    value = c.reading.outward(value, steps)
    slope, curved = None, x.curved
    if x.slope is not None:
        wide = Interval(derivative.lo.unsqueeze(0), derivative.hi.unsqueeze(0))
        slope = c.reading.outward(multiply(wide, x.slope), steps)
        if not affine:
            curved = x.curved | ~x.independent()
    return known(value, x.batch_axis, slope, curved, x.bad if bad is None else x.bad | bad)


def _increasing(f: _Map, derivative: _Range, domain: _Range | None = None) -> Callable[..., Abstract]:
    def apply(c: Context, x: Abstract, *_: Any, **__: Any) -> Abstract:
        v = x.value
        d = Interval(*derivative(v.lo, v.hi))
        value = Interval(f(v.lo).nan_to_num(nan=-INF, neginf=-INF, posinf=INF), _nan_up(f(v.hi)))
        bad = domain(v.lo, v.hi)[0].bool() if domain else None
        return through(c, x, value, d, bad=bad)

    return apply


def _nan_up(t: Tensor) -> Tensor:
    return t.nan_to_num(nan=INF, neginf=-INF, posinf=INF)


def _bell(derivative: _Map, peak: float) -> _Range:
    """Range of an even derivative that falls on both sides of its peak at zero."""

    def bounds(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        a, b = derivative(lo), derivative(hi)
        return torch.minimum(a, b), torch.where((lo <= 0) & (hi >= 0), peak, torch.maximum(a, b))

    return bounds


def _rising(derivative: _Map) -> _Range:
    return lambda lo, hi: (derivative(lo), derivative(hi))


def _falling(derivative: _Map) -> _Range:
    return lambda lo, hi: (derivative(hi), derivative(lo))


def _below(limit: float, strict: bool) -> _Range:
    """Where an argument may leave the domain x > limit (or x >= limit)."""
    return lambda lo, hi: ((lo <= limit) if strict else (lo < limit), hi)


def _steps(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative of a staircase: never negative, unbounded at its steps."""
    return torch.zeros_like(lo), torch.full_like(hi, INF)


def _positive_inverse(x: Tensor) -> Tensor:
    return torch.where(x <= 0, INF, 1 / x)


def _sech2(x: Tensor) -> Tensor:
    return 1 - torch.tanh(x) ** 2


_INCREASING: dict[str, tuple[_Map, _Range, _Range | None]] = {
    "sigmoid.default": (torch.sigmoid, _bell(lambda x: torch.sigmoid(x) * torch.sigmoid(-x), 0.25), None),
    "tanh.default": (torch.tanh, _bell(_sech2, 1.0), None),
    "atan.default": (torch.atan, _bell(lambda x: 1 / (1 + x * x), 1.0), None),
    "erf.default": (
        torch.erf,
        _bell(lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x), 2 / math.sqrt(math.pi)),
        None,
    ),
    "exp.default": (torch.exp, _rising(torch.exp), None),
    "exp2.default": (torch.exp2, _rising(lambda x: torch.exp2(x) * math.log(2)), None),
    "expm1.default": (torch.expm1, _rising(torch.exp), None),
    "sinh.default": (torch.sinh, lambda lo, hi: (torch.ones_like(lo), torch.maximum(torch.cosh(lo), torch.cosh(hi))), None),
    "log.default": (torch.log, _falling(_positive_inverse), _below(0, True)),
    "log2.default": (torch.log2, _falling(lambda x: _positive_inverse(x) / math.log(2)), _below(0, True)),
    "log10.default": (torch.log10, _falling(lambda x: _positive_inverse(x) / math.log(10)), _below(0, True)),
    "log1p.default": (torch.log1p, _falling(lambda x: _positive_inverse(1 + x)), _below(-1, True)),
    "sqrt.default": (torch.sqrt, _falling(lambda x: torch.where(x <= 0, INF, 0.5 / torch.sqrt(x))), _below(0, False)),
    "floor.default": (torch.floor, _steps, None),
    "ceil.default": (torch.ceil, _steps, None),
    "round.default": (torch.round, _steps, None),
    "trunc.default": (torch.trunc, _steps, None),
    "sign.default": (torch.sign, _steps, None),
}  # fmt: skip
for _name, (_f, _derivative, _domain) in _INCREASING.items():
    rule(_name)(_increasing(_f, _derivative, _domain))


@rule("relu.default")
def _relu(c: Context, x: Abstract) -> Abstract:
    return _clip(c, x, 0.0, INF)


def _clip(c: Context, x: Abstract, low: float, high: float) -> Abstract:
    """min(max(x, low), high): slope 1 inside, 0 outside, either where it is not known which."""
    lo, hi = x.value
    inside = (lo >= low) & (hi <= high)
    outside = (hi <= low) | (lo >= high)
    d = Interval(
        torch.where(inside, 1.0, torch.zeros_like(lo)), torch.where(outside, 0.0, torch.ones_like(lo))
    )
    out = through(c, x, Interval(lo.clamp(low, high), hi.clamp(low, high)), d, affine=True, steps=0)
    # A NaN passes, an infinity does not; which one it was is not known.
    if out.slope is None:
        return out
    return known(out.value, out.batch_axis, out.slope, x.curved | ~(inside | outside), out.bad)


@rule("clamp.default", "hardtanh.default")
def _clamp(c: Context, x: Abstract, low: Any = None, high: Any = None) -> Abstract:
    if isinstance(low, Abstract) or isinstance(high, Abstract):
        return _clamp_tensor(c, x, low, high)
    return _clip(c, x, -INF if low is None else low, INF if high is None else high)


@rule("clamp_min.default")
def _clamp_min(c: Context, x: Abstract, low: float) -> Abstract:
    return _clip(c, x, low, INF)


@rule("clamp_max.default")
def _clamp_max(c: Context, x: Abstract, high: float) -> Abstract:
    return _clip(c, x, -INF, high)


@rule("clamp.Tensor")
def _clamp_tensor(c: Context, x: Abstract, low: Any = None, high: Any = None) -> Abstract:
    out = x if low is None else maximum(c, x, low)
    return out if high is None else minimum(c, out, high)


@rule("neg.default")
def _neg(c: Context, x: Abstract) -> Abstract:
    slope = negate(x.slope) if x.slope is not None else None
    return known(negate(x.value), x.batch_axis, slope, x.curved, x.bad)


@rule("abs.default")
def _abs(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    crosses = (lo < 0) & (hi > 0)
    value = Interval(
        torch.where(crosses, 0.0, torch.minimum(lo.abs(), hi.abs())), torch.maximum(lo.abs(), hi.abs())
    )
    ones = torch.ones_like(lo)
    d = Interval(torch.where(lo >= 0, ones, -ones), torch.where(hi <= 0, -ones, ones))
    out = through(c, x, value, d, affine=True, steps=0)
    return known(out.value, out.batch_axis, out.slope, x.curved | (crosses & ~x.independent()), x.bad)


@rule("square.default")
def _square(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    a, b = lo * lo, hi * hi
    value = Interval(torch.where((lo <= 0) & (hi >= 0), 0.0, torch.minimum(a, b)), torch.maximum(a, b))
    return through(c, x, value, Interval(2 * lo, 2 * hi))


@rule("reciprocal.default")
def _reciprocal(c: Context, x: Abstract) -> Abstract:
    value = reciprocal(x.value)
    derivative = negate(_squared(value))
    return through(c, x, value, derivative, bad=(x.value.lo <= 0) & (x.value.hi >= 0))


def _squared(x: Interval) -> Interval:
    a, b = x.lo * x.lo, x.hi * x.hi
    low = torch.where((x.lo <= 0) & (x.hi >= 0), 0.0, torch.minimum(a, b))
    return Interval(low, torch.maximum(a, b))


@rule("rsqrt.default")
def _rsqrt(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value.lo.clamp(min=0), x.value.hi.clamp(min=0)
    derivative = Interval(-0.5 * lo**-1.5, -0.5 * hi**-1.5)
    return through(c, x, Interval(hi.rsqrt(), lo.rsqrt()), derivative, bad=x.value.lo <= 0)


@rule("sin.default", "cos.default")
def _wave(c: Context, x: Abstract) -> Abstract:
    one = torch.ones_like(x.value.lo)
    return through(c, x, Interval(-one, one), Interval(-one, one))


@rule("cosh.default")
def _cosh(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    low = torch.where((lo <= 0) & (hi >= 0), 1.0, torch.minimum(lo.cosh(), hi.cosh()))
    value = Interval(low, torch.maximum(lo.cosh(), hi.cosh()))
    return through(c, x, value, Interval(lo.sinh(), hi.sinh()))


@rule("frac.default")
def _frac(c: Context, x: Abstract) -> Abstract:
    one = torch.ones_like(x.value.lo)
    return through(c, x, Interval(-one, one), any_slope(x.value))


@rule("softplus.default")
def _softplus(c: Context, x: Abstract, beta: float = 1, threshold: float = 20) -> Abstract:
    if beta <= 0:
        return c.unknown()
    lo, hi = x.value
    f = torch.nn.functional.softplus
    value = Interval(f(lo, beta, 500.0), f(hi, beta, 500.0) + (math.exp(-threshold) / beta))
    value = Interval(torch.minimum(value.lo, f(lo, beta, threshold)), value.hi)
    d = Interval(torch.sigmoid(beta * lo), torch.sigmoid(beta * hi))
    # Beyond the threshold torch uses the identity: slope 1.
    return through(c, x, value, Interval(d.lo, torch.where(hi * beta > threshold, 1.0, d.hi)))


@rule("log_sigmoid_forward.default")
def _log_sigmoid(c: Context, x: Abstract) -> tuple[Abstract, Abstract]:
    f = torch.nn.functional.logsigmoid
    lo, hi = x.value
    out = through(c, x, Interval(f(lo), f(hi)), Interval(torch.sigmoid(-hi), torch.sigmoid(-lo)))
    return out, c.unknown(1)


@rule("elu.default")
def _elu(
    c: Context, x: Abstract, alpha: float = 1, scale: float = 1, input_scale: float = 1
) -> Abstract:
    if min(alpha, scale, input_scale) < 0:
        return c.unknown()
    lo, hi = x.value

    def f(t: Tensor) -> Tensor:
        left = alpha * torch.expm1(torch.clamp(t, max=0.0) * input_scale)
        return scale * torch.where(t > 0, t, left)

    def slope(t: Tensor) -> Tensor:
        return scale * input_scale * alpha * torch.exp(torch.clamp(t, max=0.0) * input_scale)

    left = Interval(slope(lo), slope(hi.clamp(max=0.0)))
    flat = torch.full_like(lo, scale)
    d = Interval(
        torch.where(lo > 0, flat, torch.where(hi <= 0, left.lo, torch.minimum(left.lo, flat))),
        torch.where(lo > 0, flat, torch.where(hi <= 0, left.hi, torch.maximum(left.hi, flat))),
    )
    return through(c, x, Interval(f(lo), f(hi)), d)


@rule("leaky_relu.default")
def _leaky_relu(c: Context, x: Abstract, negative_slope: float = 0.01) -> Abstract:
    if negative_slope < 0:
        return c.unknown()
    lo, hi = x.value
    f = torch.nn.functional.leaky_relu
    one, low = torch.ones_like(lo), torch.full_like(lo, negative_slope)
    first = torch.where(lo >= 0, one, low)
    second = torch.where(hi <= 0, low, one)
    d = Interval(torch.minimum(first, second), torch.maximum(first, second))
    return through(c, x, Interval(f(lo, negative_slope), f(hi, negative_slope)), d)


@rule("hardsigmoid.default")
def _hardsigmoid(c: Context, x: Abstract) -> Abstract:
    f = torch.nn.functional.hardsigmoid
    lo, hi = x.value
    d = Interval(torch.zeros_like(lo), torch.full_like(lo, 1 / 6))
    return through(c, x, Interval(f(lo), f(hi)), d)


_DIPS: dict[str, tuple[_Map, float, float, float]] = {
    # function, its minimum, smallest and largest derivative (rounded outward)
    "silu.default": (torch.nn.functional.silu, -0.27847, -0.09985, 1.09985),
    "gelu.default": (torch.nn.functional.gelu, -0.17005, -0.12905, 1.12905),
    "mish.default": (torch.nn.functional.mish, -0.30885, -0.11325, 1.08850),
    "hardswish.default": (torch.nn.functional.hardswish, -0.37501, -0.50001, 1.50001),
}


def _dip(f: _Map, lowest: float, least: float, most: float) -> Callable[..., Abstract]:
    """A function that dips below zero left of the origin and rises beyond it."""

    def apply(c: Context, x: Abstract, *_: Any, **__: Any) -> Abstract:
        lo, hi = x.value
        rising = lo >= 0
        at_lo, at_hi = f(lo).nan_to_num(nan=0.0, posinf=INF), f(hi).nan_to_num(nan=0.0, posinf=INF)
        value = Interval(
            torch.where(rising, at_lo - 1e-3, lowest), torch.maximum(at_lo, at_hi).clamp(min=0.0) + 1e-3
        )
        d = Interval(torch.where(rising, 0.49, least), torch.full_like(lo, most))
        return through(c, x, value, d)

    return apply


for _name, (_f, _lowest, _least, _most) in _DIPS.items():
    rule(_name)(_dip(_f, _lowest, _least, _most))


@rule("nan_to_num.default")
def _nan_to_num(
    c: Context, x: Abstract, nan: float | None = None, posinf: Any = None, neginf: Any = None
) -> Abstract:
    replaced = [0.0 if nan is None else nan]
    replaced += [FLOAT32_MAX if posinf is None else posinf, -FLOAT32_MAX if neginf is None else neginf]
    lo = x.value.lo.clamp(min=-FLOAT32_MAX)
    hi = x.value.hi.clamp(max=FLOAT32_MAX)
    value = Interval(
        torch.where(x.bad, lo.clamp(max=min(replaced)), lo),
        torch.where(x.bad, hi.clamp(min=max(replaced)), hi),
    )
    slope = x.slope
    if slope is not None and bool(x.bad.any()):
        slope = Interval(
            torch.where(x.bad, -INF, slope.lo), torch.where(x.bad, INF, slope.hi)
        )
    return known(value, x.batch_axis, slope, x.curved | (x.bad & ~x.independent()))


@rule("isnan.default", "isinf.default")
def _is_special(c: Context, x: Abstract) -> Abstract:
    zero = torch.zeros_like(x.value.lo)
    out = known(Interval(zero, x.bad.to(torch.float64)), x.batch_axis)
    return out if x.slope is None else jump(c, out, x)


def jump(c: Context, out: Abstract, *sources: Abstract) -> Abstract:
    """``out`` with unbounded slope wherever a source depends on Q: a step may hide there."""
    if all(s.slope is None for s in sources):
        return out
    depends = torch.zeros(out.shape, dtype=torch.bool)
    for s in sources:
        depends = depends | torch.broadcast_to(~s.independent(), out.shape)
    settled = out.value.lo == out.value.hi
    depends = depends & ~settled
    wide = torch.where(depends, INF, torch.zeros_like(out.value.lo)).expand(c.n_agents, *out.shape)
    return known(out.value, out.batch_axis, Interval(-wide, wide), out.curved | depends, out.bad)


# ---- two operands --------------------------------------------------------------------------------


def binary(
    c: Context, a: Abstract, b: Abstract, value: Interval, slope: Interval | None, curved: Tensor,
    bad: Tensor | None = None,
) -> Abstract:  # fmt: skip
    """Assemble a result of two broadcast operands."""
    shape = value.lo.shape
    both = combine_bad(a, b)
    bad = both if bad is None else both | bad
    axis = c.result_axis
    return known(
        c.reading.outward(value),
        axis,
        None if slope is None else c.reading.outward(slope, 2),
        torch.broadcast_to(curved, shape),
        torch.broadcast_to(bad, shape),
    )


def _slopes(c: Context, a: Abstract, b: Abstract) -> tuple[Interval, Interval]:
    """Both operands' slopes, shaped to broadcast behind the agent axis."""
    rank = max(len(a.shape), len(b.shape))

    def pad(x: Abstract) -> Interval:
        s = x.slopes(c.n_agents)
        shape = (c.n_agents, *(1,) * (rank - len(x.shape)), *x.shape)
        return Interval(s.lo.reshape(shape), s.hi.reshape(shape))

    return pad(a), pad(b)


def plus(c: Context, a: Abstract, b: Abstract, alpha: float = 1) -> Abstract:
    """a + alpha * b."""
    if alpha != 1:
        b = times(c, b, c.literal(alpha))
    slope = None
    if a.slope is not None or b.slope is not None:
        slope = add(*_slopes(c, a, b))
    return binary(c, a, b, add(a.value, b.value), slope, a.curved | b.curved)


def times(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """a * b; affine in Q where one of them does not depend on Q."""
    if a is b:
        return _square(c, a)
    value = multiply(a.value, b.value)
    slope, curved = None, a.curved | b.curved
    if a.slope is not None or b.slope is not None:
        sa, sb = _slopes(c, a, b)
        slope = add(multiply(sa, b.value), multiply(sb, a.value))
        # A factor that depends on Q multiplies the other: curved unless the other does not.
        free_a, free_b = a.independent(), b.independent()
        zero = (value.lo == 0) & (value.hi == 0)
        curved = (curved | ~(free_a | free_b)) & ~zero
    return binary(c, a, b, value, slope, curved)


def over(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """a / b."""
    inverse = _reciprocal(c, b)
    out = times(c, a, inverse)
    shape = out.shape
    return known(
        out.value, out.batch_axis, out.slope, out.curved, torch.broadcast_to(inverse.bad, shape) | out.bad
    )


@rule("add.Tensor", "add.Scalar")
def _add(c: Context, a: Any, b: Any, alpha: float = 1) -> Abstract:
    return plus(c, c.tensor(a), c.tensor(b), alpha)


@rule("sub.Tensor", "sub.Scalar")
def _sub(c: Context, a: Any, b: Any, alpha: float = 1) -> Abstract:
    return plus(c, c.tensor(a), c.tensor(b), -alpha)


@rule("rsub.Scalar")
def _rsub(c: Context, a: Any, b: Any, alpha: float = 1) -> Abstract:
    return plus(c, c.tensor(b), c.tensor(a), -alpha)


@rule("mul.Tensor", "mul.Scalar")
def _mul(c: Context, a: Any, b: Any) -> Abstract:
    return times(c, c.tensor(a), c.tensor(b))


@rule("div.Tensor", "div.Scalar")
def _div(c: Context, a: Any, b: Any) -> Abstract:
    return over(c, c.tensor(a), c.tensor(b))


@rule("div.Tensor_mode", "div.Scalar_mode", "floor_divide.default")
def _div_mode(c: Context, a: Any, b: Any, rounding_mode: str | None = "floor") -> Abstract:
    out = over(c, c.tensor(a), c.tensor(b))
    if rounding_mode is None:
        return out
    f = torch.floor if rounding_mode == "floor" else torch.trunc
    rounded = known(Interval(f(out.value.lo), f(out.value.hi)), out.batch_axis, bad=out.bad)
    return jump(c, rounded, out)


@rule("remainder.Tensor", "remainder.Scalar", "fmod.Tensor", "fmod.Scalar")
def _remainder(c: Context, a: Any, b: Any) -> Abstract:
    x, y = c.tensor(a), c.tensor(b)
    most = torch.maximum(y.value.lo.abs(), y.value.hi.abs())
    zero = torch.zeros(torch.broadcast_shapes(x.shape, y.shape), dtype=torch.float64)
    value = Interval(zero - most, zero + most)
    bad = combine_bad(x, y) | ((y.value.lo <= 0) & (y.value.hi >= 0))
    return jump(c, known(value, c.result_axis, bad=torch.broadcast_to(bad, zero.shape)), x, y)


@rule("pow.Tensor_Scalar")
def _pow(c: Context, x: Abstract, p: float) -> Abstract:
    if p == 1:
        return x
    if p == 2:
        return _square(c, x)
    if p == 0.5:
        return c.apply("sqrt.default", x)
    if p == -1:
        return _reciprocal(c, x)
    lo, hi = x.value
    if float(p).is_integer() and 0 <= p <= 64:
        if p == 0:
            return c.literal_like(1.0, x)
        if int(p) % 2:
            d = _pow_range(Interval(lo, hi), int(p) - 1)
            return through(c, x, Interval(lo**p, hi**p), Interval(p * d.lo, p * d.hi), steps=8)
        value = _pow_range(Interval(lo, hi), int(p))
        return through(c, x, value, Interval(p * lo ** (p - 1), p * hi ** (p - 1)), steps=8)
    if bool((lo < 0).any()) or (p < 0 and bool((lo <= 0).any())):
        return c.unknown()
    ends = (lo**p, hi**p)
    value = Interval(torch.minimum(*ends), torch.maximum(*ends))
    slopes = (p * lo ** (p - 1), p * hi ** (p - 1))
    return through(
        c, x, value, Interval(torch.minimum(*slopes), torch.maximum(*slopes)), steps=16
    )


def _pow_range(x: Interval, p: int) -> Interval:
    """x ** p for an even p."""
    a, b = x.lo.abs() ** p, x.hi.abs() ** p
    low = torch.where((x.lo <= 0) & (x.hi >= 0), 0.0, torch.minimum(a, b))
    return Interval(low, torch.maximum(a, b))


@rule("pow.Scalar")
def _pow_scalar(c: Context, base: float, x: Abstract) -> Abstract:
    if base <= 0:
        return c.unknown()
    scaled = times(c, x, c.literal(math.log(base)))
    return c.apply("exp.default", scaled)


def _select(
    c: Context, a: Abstract, b: Abstract, first: Tensor, second: Tensor,
    pick: Callable[[Tensor, Tensor], Tensor],
) -> Abstract:  # fmt: skip
    """max or min of two: the slope of whichever counts, either where it is not known."""
    shape = first.shape
    value = Interval(pick(a.value.lo, b.value.lo), pick(a.value.hi, b.value.hi))
    slope, curved = None, (a.curved & ~second) | (b.curved & ~first)
    if a.slope is not None or b.slope is not None:
        sa, sb = _slopes(c, a, b)
        hull = sa.hull(sb)
        slope = Interval(
            torch.where(first, sa.lo, torch.where(second, sb.lo, hull.lo)),
            torch.where(first, sa.hi, torch.where(second, sb.hi, hull.hi)),
        )
        depends = ~(a.independent() & b.independent())
        curved = curved | (torch.broadcast_to(depends, shape) & ~(first | second))
    return binary(c, a, b, value, slope, curved)


@rule("maximum.default", "clamp_min.Tensor")
def maximum(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """max(a, b), elementwise."""
    first, second = a.value.lo >= b.value.hi, b.value.lo >= a.value.hi
    return _select(c, a, b, first, second, torch.maximum)


@rule("minimum.default", "clamp_max.Tensor")
def minimum(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """min(a, b), elementwise."""
    first, second = a.value.hi <= b.value.lo, b.value.hi <= a.value.lo
    return _select(c, a, b, first, second, torch.minimum)


@rule("atan2.default")
def _atan2(c: Context, a: Abstract, b: Abstract) -> Abstract:
    full = torch.full(torch.broadcast_shapes(a.shape, b.shape), math.pi + 1e-6, dtype=torch.float64)
    bad = torch.broadcast_to(combine_bad(a, b), full.shape)
    return jump(c, known(Interval(-full, full), c.result_axis, bad=bad), a, b)


@rule("lerp.Tensor", "lerp.Scalar")
def _lerp(c: Context, a: Abstract, b: Abstract, w: Any) -> Abstract:
    return plus(c, a, times(c, c.tensor(w), plus(c, b, a, -1)))


@rule("addcmul.default")
def _addcmul(c: Context, a: Abstract, x: Abstract, y: Abstract, value: float = 1) -> Abstract:
    return plus(c, a, times(c, x, y), value)


@rule("addcdiv.default")
def _addcdiv(c: Context, a: Abstract, x: Abstract, y: Abstract, value: float = 1) -> Abstract:
    return plus(c, a, over(c, x, y), value)


# ---- conditions ----------------------------------------------------------------------------------

_ORDER: dict[str, Callable[[Interval, Interval], tuple[Tensor, Tensor]]] = {
    # surely true, surely false
    "lt": lambda a, b: (a.hi < b.lo, a.lo >= b.hi),
    "le": lambda a, b: (a.hi <= b.lo, a.lo > b.hi),
    "gt": lambda a, b: (a.lo > b.hi, a.hi <= b.lo),
    "ge": lambda a, b: (a.lo >= b.hi, a.hi < b.lo),
    "eq": lambda a, b: (
        (a.lo == a.hi) & (b.lo == b.hi) & (a.lo == b.lo),
        (a.hi < b.lo) | (a.lo > b.hi),
    ),
    "ne": lambda a, b: (
        (a.hi < b.lo) | (a.lo > b.hi),
        (a.lo == a.hi) & (b.lo == b.hi) & (a.lo == b.lo),
    ),
}


def _comparison(decide: Callable[[Interval, Interval], tuple[Tensor, Tensor]]) -> Callable[..., Abstract]:
    def apply(c: Context, left: Any, right: Any) -> Abstract:
        a, b = c.tensor(left), c.tensor(right)
        true, false = decide(a.value, b.value)
        unsure = torch.broadcast_to(combine_bad(a, b), true.shape)
        return jump(c, truth(c, true & ~unsure, false & ~unsure), a, b)

    return apply


for _name, _decide in _ORDER.items():
    rule(f"{_name}.Tensor", f"{_name}.Scalar")(_comparison(_decide))


def truth(c: Context, true: Tensor, false: Tensor) -> Abstract:
    """A condition that is surely true, surely false, or either."""
    return known(Interval(true.to(torch.float64), (~false).to(torch.float64)), c.result_axis)


def _settled(x: Abstract) -> tuple[Tensor, Tensor]:
    """Where a value is surely non-zero, surely zero."""
    nonzero = ((x.value.lo > 0) | (x.value.hi < 0)) & ~x.bad
    return nonzero, (x.value.lo == 0) & (x.value.hi == 0) & ~x.bad


@rule("logical_not.default", "bitwise_not.default")
def _not(c: Context, x: Abstract) -> Abstract:
    if c.op == "aten.bitwise_not.default" and c.result_dtype != torch.bool:
        return c.unknown()
    true, false = _settled(x)
    return jump(c, truth(c, false, true), x)


@rule("logical_and.default", "bitwise_and.Tensor", "bitwise_and.Scalar")
def _and(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = _settled(a), _settled(b)
    return jump(c, truth(c, at & bt, af | bf), a, b)


@rule("logical_or.default", "bitwise_or.Tensor", "bitwise_or.Scalar")
def _or(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = _settled(a), _settled(b)
    return jump(c, truth(c, at | bt, af & bf), a, b)


@rule("logical_xor.default", "bitwise_xor.Tensor", "bitwise_xor.Scalar")
def _xor(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = _settled(a), _settled(b)
    return jump(c, truth(c, (at & bf) | (af & bt), (at & bt) | (af & bf)), a, b)


@rule("where.self", "where.Scalar", "where.ScalarOther", "where.ScalarSelf")
def where(c: Context, condition: Abstract, left: Any, right: Any) -> Abstract:
    """a where the condition holds, else b; both where it is not known.

    For each single state a condition that does not depend on Q is settled, so the hull of both
    slopes is right; one that depends on Q makes a step.
    """
    a, b = c.tensor(left), c.tensor(right)
    shape = torch.broadcast_shapes(condition.shape, a.shape, b.shape)
    true, false = (torch.broadcast_to(t, shape) for t in _settled(condition))
    hull = a.value.hull(b.value)

    def pick(x: Tensor, y: Tensor, either: Tensor) -> Tensor:
        return torch.where(true, x, torch.where(false, y, either))

    value = Interval(
        pick(a.value.lo, b.value.lo, hull.lo), pick(a.value.hi, b.value.hi, hull.hi)
    )
    bad = pick(
        torch.broadcast_to(a.bad, shape), torch.broadcast_to(b.bad, shape),
        torch.broadcast_to(a.bad | b.bad, shape),
    )  # fmt: skip
    curved = pick(
        torch.broadcast_to(a.curved, shape), torch.broadcast_to(b.curved, shape),
        torch.broadcast_to(a.curved | b.curved, shape),
    )  # fmt: skip
    slope = None
    if a.slope is not None or b.slope is not None:
        sa, sb = _slopes(c, a, b)
        either = sa.hull(sb)
        slope = Interval(pick(sa.lo, sb.lo, either.lo), pick(sa.hi, sb.hi, either.hi))
    out = known(value, c.result_axis, slope, curved, bad)
    if condition.slope is None:
        return out
    steps = torch.broadcast_to(~condition.independent(), shape) & ~(true | false)
    wide = out.slopes(c.n_agents)
    return known(
        value,
        c.result_axis,
        Interval(torch.where(steps, -INF, wide.lo), torch.where(steps, INF, wide.hi)),
        curved | steps,
        bad,
    )


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(c: Context, x: Abstract, mask: Abstract, value: Any) -> Abstract:
    return where(c, mask, value, x)


@rule("fill.Scalar", "fill.Tensor")
def _fill(c: Context, x: Abstract, value: Any) -> Abstract:
    return plus(c, c.literal_like(0.0, x), c.tensor(value))


@rule("_to_copy.default")
def _to_copy(c: Context, x: Abstract, dtype: Any = None) -> Abstract:
    kind = c.result_dtype
    if kind == torch.bool:
        true, false = _settled(x)
        return jump(c, truth(c, true, false), x)
    if kind == torch.int64:
        if c.operand_dtypes[0] != torch.int64:
            out = known(Interval(x.value.lo.trunc(), x.value.hi.trunc()), x.batch_axis, bad=x.bad)
            return jump(c, out, x)
        return x
    return known(c.reading.outward(x.value), x.batch_axis, x.slope, x.curved, x.bad)
