"""Rules for functions of one operand: by the range of the function and of its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import clamp_tensor, negative, over, powers, steep, through, times
from sandbox.prover.domain import FLOAT32_MAX, INF, SMALLEST, Abstract, Interval, any_slope, known
from sandbox.prover.registry import Context, rule

Map = Callable[[Tensor], Tensor]
_Range = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
_Test = Callable[[Tensor, Tensor], Tensor]

LEAST = 1e-300  # what is positive stays positive where float64 would underflow


def _bell(derivative: Map, peak: float) -> _Range:
    """Range of an even derivative that falls on both sides of its peak at zero."""

    def bounds(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        a, b = derivative(lo), derivative(hi)
        most = torch.where((lo <= 0) & (hi >= 0), peak, torch.maximum(a, b))
        return torch.minimum(a, b), most.clamp(min=LEAST)

    return bounds


def _rising(derivative: Map) -> _Range:
    return lambda lo, hi: (derivative(lo), derivative(hi).clamp(min=LEAST))


def _falling(derivative: Map) -> _Range:
    return lambda lo, hi: (derivative(hi), derivative(lo).clamp(min=LEAST))


def _steps(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """The derivative of a staircase: never negative, unbounded at its steps."""
    return torch.zeros_like(lo), torch.full_like(hi, INF)


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x <= 0, INF, 1 / x)


def _sech2(x: Tensor) -> Tensor:
    return 1 / torch.cosh(x) ** 2


def _arc(x: Tensor) -> Tensor:
    """The derivative of arcsine; none at its ends."""
    return torch.where(x.abs() >= 1, INF, 1 / torch.sqrt((1 - x * x).clamp(min=0)))


def _arc_range(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    inner = torch.where((lo <= 0) & (hi >= 0), 0.0, torch.minimum(lo.abs(), hi.abs()))
    return _arc(inner.clamp(max=1 - 1e-9)), torch.maximum(_arc(lo), _arc(hi))


def _cosh_range(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(lo), torch.maximum(torch.cosh(lo), torch.cosh(hi))


_Curve = tuple[Map, _Range, "_Test | None"]
_INCREASING: dict[str, _Curve] = {
    "sigmoid": (torch.sigmoid, _bell(lambda x: torch.sigmoid(x) * torch.sigmoid(-x), 0.25), None),
    "tanh": (torch.tanh, _bell(_sech2, 1.0), None),
    "atan": (torch.atan, _bell(lambda x: 1 / (1 + x * x), 1.0), None),
    "exp": (torch.exp, _rising(torch.exp), None),
    "exp2": (torch.exp2, _rising(lambda x: torch.exp2(x) * math.log(2)), None),
    "expm1": (torch.expm1, _rising(torch.exp), None),
    "sinh": (torch.sinh, _cosh_range, None),
    "log": (torch.log, _falling(_inverse), lambda lo, hi: lo <= 0),
    "log2": (torch.log2, _falling(lambda x: _inverse(x) / math.log(2)), lambda lo, hi: lo <= 0),
    "log10": (torch.log10, _falling(lambda x: _inverse(x) / math.log(10)), lambda lo, hi: lo <= 0),
    "log1p": (torch.log1p, _falling(lambda x: _inverse(1 + x)), lambda lo, hi: lo <= -1),
    "asin": (torch.asin, _arc_range, lambda lo, hi: (lo < -1) | (hi > 1)),
}
_STAIRS: dict[str, Map] = {
    "floor": torch.floor, "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc,
    "sign": torch.sign,
}  # fmt: skip
_NEVER_ZERO = {"sigmoid", "exp", "exp2"}


def _ends(f: Map, x: Interval) -> Interval:
    """An increasing function at both ends; where an end is outside its domain the bound is open."""
    return Interval(
        f(x.lo).nan_to_num(nan=-INF, neginf=-INF, posinf=INF),
        f(x.hi).nan_to_num(nan=INF, neginf=-INF, posinf=INF),
    )


EXP_END = 88.5
"""Float32's exponential is finite up to 88.72; kernels take it on the way to other functions."""


def exceeds(c: Context, x: Tensor, end: float) -> Tensor:
    """Where a kernel's own intermediate overflows in float32 (nowhere in real arithmetic)."""
    return (x > end) if c.reading.float32 else torch.zeros(x.shape, dtype=torch.bool)


def opened(x: Interval, where: Tensor) -> Interval:
    """An interval that an overflowing kernel may leave at some places."""
    return Interval(torch.where(where, -INF, x.lo), torch.where(where, INF, x.hi))


def held_scalars(*numbers: float) -> bool:
    """Whether float32 holds numbers but for rounding: it flushes those below its smallest."""
    return all(n == 0 or abs(n) >= SMALLEST for n in numbers)


def _increasing(name: str, curve: _Curve) -> Callable[..., Abstract]:
    f, derivative, outside = curve

    def apply(c: Context, x: Abstract) -> Abstract:
        value = _ends(f, x.value)
        if name in _NEVER_ZERO:
            value = Interval(value.lo, value.hi.clamp(min=LEAST))
        bad = outside(*x.value) if outside else None
        if name == "sinh":
            bad = exceeds(c, x.value.size(), EXP_END)
            value = opened(value, bad)
        return through(c, x, value, Interval(*derivative(*x.value)), bad=bad)

    return apply


for _name, _curve in _INCREASING.items():
    rule(f"{_name}.default")(_increasing(_name, _curve))


def _staircase(f: Map) -> Callable[..., Abstract]:
    def apply(c: Context, x: Abstract, decimals: int = 0) -> Abstract:
        if decimals:
            return c.unknown()
        yes = torch.ones(x.shape, dtype=torch.bool)
        value, d = _ends(f, x.value), Interval(*_steps(*x.value))
        if f is torch.sign:  # which makes zero of NaN
            value = Interval(
                torch.where(x.bad, value.lo.clamp(max=0.0), value.lo),
                torch.where(x.bad, value.hi.clamp(min=0.0), value.hi),
            )
            d = Interval(torch.where(x.bad, -INF, d.lo), d.hi)
        return through(c, x, value, d, steps=0, whole=yes)

    return apply


for _name, _stair in _STAIRS.items():
    rule(f"{_name}.default")(_staircase(_stair))


@rule("sqrt.default")
def _sqrt(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    value = Interval(lo.clamp(min=0).sqrt(), hi.clamp(min=0).sqrt())
    d = Interval(_inverse(2 * hi.clamp(min=0).sqrt()), _inverse(2 * lo.clamp(min=0).sqrt()))
    return through(c, x, value, d, bad=lo < 0, rounded_once=True)


@rule("erf.default")
def _erf(c: Context, x: Abstract) -> Abstract:
    peak = 2 / math.sqrt(math.pi)
    d = Interval(*_bell(lambda t: peak * torch.exp(-t * t), peak)(*x.value))
    out = through(c, x, _ends(torch.erf, x.value), d)
    # torch's vectorised erf has an absolute error, also near zero
    return out.but(value=c.reading.widen(out.value, torch.full(x.shape, 1e-6).double()))


@rule("relu.default")
def _relu(c: Context, x: Abstract) -> Abstract:
    return _clip(c, x, 0.0, INF)


def _clip(c: Context, x: Abstract, low: float, high: float) -> Abstract:
    """min(max(x, low), high): slope 1 inside, 0 outside, either where it is not known."""
    if not (low < INF and high > -INF):
        return c.unknown()
    lo, hi = x.value
    low_at, high_at = c.literal(low), c.literal(high)
    least, most = float(low_at.value.lo), float(high_at.value.hi)
    value = Interval(
        lo.clamp(min=least).clamp(max=float(high_at.value.lo)),
        hi.clamp(min=float(low_at.value.hi)).clamp(max=most),
    )
    inside = (lo >= low_at.value.hi) & (hi <= high_at.value.lo)
    outside = (hi <= least) | (lo >= most)
    d = Interval(
        torch.where(inside, 1.0, torch.zeros_like(lo)),
        torch.where(outside, 0.0, torch.ones_like(lo)),
    )
    whole = x.whole
    for end in (low, high):
        if math.isfinite(end) and not float(end).is_integer():
            whole = whole & inside
    out = through(c, x, value, d, affine=True, steps=0, whole=whole)
    # A NaN passes, an infinity does not; which one it was is not known.
    if out.slope is None:
        return out
    curved = (x.curved & ~outside) | (~(inside | outside) & ~x.independent())
    return known(out.value, out.batch_axis, out.slope, curved, out.bad, whole=whole)


@rule("clamp.default", "hardtanh.default")
def _clamp(c: Context, x: Abstract, low: Any = None, high: Any = None) -> Abstract:
    if isinstance(low, Abstract) or isinstance(high, Abstract):
        return clamp_tensor(c, x, low, high)
    if c.op == "aten.hardtanh.default":
        low, high = -1.0 if low is None else low, 1.0 if high is None else high
    return _clip(c, x, -INF if low is None else low, INF if high is None else high)


@rule("clamp_min.default")
def _clamp_min(c: Context, x: Abstract, low: float) -> Abstract:
    return _clip(c, x, low, INF)


@rule("clamp_max.default")
def _clamp_max(c: Context, x: Abstract, high: float) -> Abstract:
    return _clip(c, x, -INF, high)


@rule("neg.default")
def _neg(c: Context, x: Abstract) -> Abstract:
    return negative(x)


@rule("abs.default")
def absolute(c: Context, x: Abstract) -> Abstract:
    """|x|."""
    lo, hi = x.value
    crosses = (lo < 0) & (hi > 0)
    value = Interval(
        torch.where(crosses, 0.0, torch.minimum(lo.abs(), hi.abs())),
        torch.maximum(lo.abs(), hi.abs()),
    )
    ones = torch.ones_like(lo)
    d = Interval(torch.where(lo >= 0, ones, -ones), torch.where(hi <= 0, -ones, ones))
    out = through(c, x, value, d, affine=True, steps=0, whole=x.whole)
    if out.slope is None:
        return out
    curved = x.curved | (crosses & ~x.independent())
    return known(out.value, out.batch_axis, out.slope, curved, out.bad, whole=x.whole)


@rule("square.default")
def square(c: Context, x: Abstract) -> Abstract:
    """x * x."""
    lo, hi = x.value
    size = Interval(
        torch.where((lo <= 0) & (hi >= 0), 0.0, torch.minimum(lo.abs(), hi.abs())), x.value.size()
    )
    low = c.reading.multiply(Interval(size.lo, size.lo), Interval(size.lo, size.lo)).lo
    high = c.reading.multiply(Interval(size.hi, size.hi), Interval(size.hi, size.hi)).hi
    d = Interval(2 * lo, 2 * hi)
    return through(c, x, Interval(low, high), d, steps=0, whole=x.whole)


@rule("reciprocal.default")
def _reciprocal(c: Context, x: Abstract) -> Abstract:
    return over(c, c.literal_like(1.0, x), x)


@rule("rsqrt.default")
def _rsqrt(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value.lo.clamp(min=0), x.value.hi.clamp(min=0)
    pole = x.value.lo <= 0
    low = torch.where(pole, -INF, hi.rsqrt())  # what -0.0 becomes, on the other side of the pole
    d = Interval(-0.5 * lo**-1.5, torch.where(pole, INF, -0.5 * hi**-1.5))
    return through(c, x, Interval(low, lo.rsqrt()), d, bad=pole)


@rule("sin.default", "cos.default")
def _wave(c: Context, x: Abstract) -> Abstract:
    one = torch.ones_like(x.value.lo)
    return through(c, x, Interval(-one, one), Interval(-one, one))


@rule("tan.default")
def _tan(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    inside = (lo > -1.57) & (hi < 1.57)  # else a pole may lie between
    at = Interval(torch.tan(lo), torch.tan(hi))
    value = Interval(torch.where(inside, at.lo, -INF), torch.where(inside, at.hi, INF))
    size = value.size()
    d = Interval(
        torch.where(inside, 1.0, torch.full_like(lo, -INF)),
        torch.where(inside, 1 + size * size, INF),
    )
    return through(c, x, value, d, bad=~inside, steps=8)


@rule("acos.default")
def _acos(c: Context, x: Abstract) -> Abstract:
    value = Interval(
        torch.acos(x.value.hi).nan_to_num(nan=0.0), torch.acos(x.value.lo).nan_to_num(nan=math.pi)
    )
    least, most = _arc_range(*x.value)
    outside = (x.value.lo < -1) | (x.value.hi > 1)
    out = through(c, x, value, Interval(-most, -least), bad=outside)
    return out.but(value=c.reading.widen(out.value, torch.full(x.shape, 1e-6).double()))


@rule("cosh.default")
def _cosh(c: Context, x: Abstract) -> Abstract:
    lo, hi = x.value
    low = torch.where((lo <= 0) & (hi >= 0), 1.0, torch.minimum(lo.cosh(), hi.cosh()))
    value = Interval(low, torch.maximum(lo.cosh(), hi.cosh()))
    bad = exceeds(c, x.value.size(), EXP_END)
    return through(c, x, opened(value, bad), Interval(lo.sinh(), hi.sinh()), bad=bad)


@rule("frac.default")
def _frac(c: Context, x: Abstract) -> Abstract:
    one = torch.ones_like(x.value.lo)
    return through(c, x, Interval(-one, one), any_slope(x.value))


@rule("nan_to_num.default")
def _nan_to_num(
    c: Context, x: Abstract, nan: float | None = None, posinf: Any = None, neginf: Any = None
) -> Abstract:
    replaced = [0.0 if nan is None else nan]
    replaced += [
        FLOAT32_MAX if posinf is None else posinf,
        -FLOAT32_MAX if neginf is None else neginf,
    ]
    if not all(math.isfinite(r) for r in replaced):
        return c.unknown()
    lo, hi = x.value
    if c.reading.float32:  # what lies beyond was infinite, and is replaced
        lo, hi = lo.clamp(min=-FLOAT32_MAX), hi.clamp(max=FLOAT32_MAX)
    held = [c.literal(r).value for r in replaced]
    least, most = min(float(h.lo) for h in held), max(float(h.hi) for h in held)
    value = Interval(
        torch.where(x.bad, lo.clamp(max=least), lo), torch.where(x.bad, hi.clamp(min=most), hi)
    )
    whole = x.whole & ~x.bad
    out = known(value, x.batch_axis, x.slope, x.curved, whole=whole)
    return out if x.slope is None else steep(c, out, x.bad & ~x.independent())


@rule("pow.Tensor_Scalar")
def _pow(c: Context, x: Abstract, p: float) -> Abstract:
    if not (math.isfinite(p) and held_scalars(p)) or (c.result_dtype == "int64" and p < 0):
        return c.unknown()
    if p in _POWERS:
        return _POWERS[p](c, x)
    lo, hi = x.value
    if float(p).is_integer() and 0 < p <= 64:
        whole = x.whole
        if int(p) % 2:
            d = _even_power(x.value, int(p) - 1)
            slope = Interval(p * d.lo, p * d.hi)
            return through(c, x, Interval(lo**p, hi**p), slope, steps=64, whole=whole)
        slope = Interval(p * lo ** (p - 1), p * hi ** (p - 1))
        return through(c, x, _even_power(x.value, int(p)), slope, steps=64, whole=whole)
    if bool((lo < 0).any()) or (p < 0 and bool((lo <= 0).any())):
        return c.unknown()
    ends = (lo**p, hi**p)
    value = Interval(torch.minimum(*ends), torch.maximum(*ends))
    slopes = (p * lo ** (p - 1), p * hi ** (p - 1))
    # float32 rounds the exponent, which counts for sizes far from one
    reach = torch.maximum(lo.clamp(min=1e-45).log().abs(), hi.clamp(min=1e-45).log().abs())
    relative = (reach.nan_to_num(posinf=0.0) * abs(p) * 2.0**-23).expm1()
    value = c.reading.widen(value, (value.size() * relative).nan_to_num(posinf=0.0))
    value = Interval(value.lo.clamp(min=0.0), value.hi)
    return through(c, x, value, Interval(torch.minimum(*slopes), torch.maximum(*slopes)), steps=16)


_POWERS: dict[float, Callable[[Context, Abstract], Abstract]] = {
    0: lambda c, x: c.literal_like(1.0, x),
    0.5: _sqrt,
    1: lambda c, x: x,
    2: square,
    -1: _reciprocal,
}


def _even_power(x: Interval, p: int) -> Interval:
    """x ** p for an even p."""
    a, b = x.lo.abs() ** p, x.hi.abs() ** p
    low = torch.where((x.lo <= 0) & (x.hi >= 0), 0.0, torch.minimum(a, b))
    return Interval(low, torch.maximum(a, b))


@rule("pow.Scalar")
def _pow_scalar(c: Context, base: float, x: Abstract) -> Abstract:
    if not 0 < base < INF:
        return c.unknown()
    logarithm = c.apply("log.default", c.literal(base))
    return powers(c, times(c, x, logarithm), x.bad)
