"""Rules for arithmetic on two operands (and on three), and what all pointwise rules share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.domain import (
    INF,
    REAL,
    SMALLEST,
    Abstract,
    Interval,
    known,
    negate,
)
from sandbox.prover.registry import Context, rule


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
    whole: Tensor | None = None,
    rounded_once: bool = False,
) -> Abstract:
    """A function of one operand, by its range and the range of its derivative (chain rule).

    The function must be defined on an interval (a pole inside needs an unbounded derivative).
    ``steps`` is the error of torch's kernel in units in the last place; 0 means exact. A kernel
    with an error need not rise where the function rises, unless it rounds correctly
    (``rounded_once``).
    """
    value = c.held(c.reading.outward(value, steps) if steps else value)
    slope, curved = None, x.curved
    if x.slope is not None:
        wide = Interval(derivative.lo.unsqueeze(0), derivative.hi.unsqueeze(0))
        slope = REAL.multiply(wide, x.slope)
        slope = REAL.outward(slope, steps) if steps else slope
        if c.reading.float32 and steps and not rounded_once:
            moved = ~x.independent()
            slope = Interval(
                torch.where(moved, -INF, torch.zeros_like(slope.lo)),
                torch.where(moved, INF, torch.zeros_like(slope.hi)),
            )
        if not affine:
            curved = x.curved | ~x.independent()
    made = x.bad | c.overflow(value)
    made = made if bad is None else made | bad
    slope = _or_not_finite(slope, made, ~x.independent())
    return known(value, x.batch_axis, slope, curved, made, whole=whole)


def _or_not_finite(slope: Interval | None, bad: Tensor, depends: Tensor) -> Interval | None:
    """A slope that is unbounded where an operand's Q may decide whether the result is finite.

    A factor of zero, or a bound, ends what a finite value owes to Q, but a NaN passes.
    """
    if slope is None:
        return None
    hidden = bad & depends & (slope.lo == 0).all(0) & (slope.hi == 0).all(0)
    return Interval(torch.where(hidden, -INF, slope.lo), torch.where(hidden, INF, slope.hi))


def jump(c: Context, out: Abstract, *sources: Abstract) -> Abstract:
    """``out`` with unbounded slope wherever a source depends on Q: a step may hide there."""
    if all(s.slope is None for s in sources):
        return out
    depends = torch.zeros(out.shape, dtype=torch.bool)
    for s in sources:
        depends = depends | torch.broadcast_to(~s.independent(), out.shape)
    depends = depends & ~((out.value.lo == out.value.hi) & ~out.bad)
    return steep(c, out, depends, *sources)


def steep(c: Context, out: Abstract, where: Tensor, *sources: Abstract) -> Abstract:
    """``out`` with unbounded slope at some places, its own elsewhere.

    Args:
        sources: what makes it steep: by those agents only that these depend on, as far as that is
            known; without any, by all.
    """
    s, curved = out.slopes(c.n_agents), where
    if sources and all(x.touched is None for x in sources):
        moving = torch.zeros(c.n_agents, *out.shape, dtype=torch.bool)
        for x in sources:
            own = x.slopes(c.n_agents)
            lead = (1,) * (len(out.shape) - len(x.shape))
            moving |= ((own.lo != 0) | (own.hi != 0)).reshape(c.n_agents, *lead, *x.shape)
        where = where & moving
    return known(
        out.value,
        out.batch_axis,
        Interval(torch.where(where, -INF, s.lo), torch.where(where, INF, s.hi)),
        out.curved | curved,
        out.bad,
        nan=out.nan,
        whole=out.whole,
    )


def by_no_known_order(c: Context, out: Abstract) -> Abstract:
    """In float32, no direction: a kernel whose steps are its own need not rise with its terms."""
    if not c.reading.float32 or out.slope is None:
        return out
    return steep(c, out, ~out.independent())


def binary(
    c: Context, a: Abstract, b: Abstract, value: Interval, slope: Interval | None, curved: Tensor,
    *, bad: Tensor | None = None, whole: Tensor | None = None,
) -> Abstract:  # fmt: skip
    """Assemble a result of two broadcast operands."""
    shape = value.lo.shape
    value = c.held(value)
    made = combine_bad(a, b) | c.overflow(value)
    made = torch.broadcast_to(made if bad is None else made | bad, shape)
    depends = torch.broadcast_to(~(a.independent() & b.independent()), shape)
    return known(
        value,
        c.result_axis,
        _or_not_finite(slope, made, depends),
        torch.broadcast_to(curved, shape),
        made,
        whole=None if whole is None else torch.broadcast_to(whole, shape),
    )


def paired_slopes(c: Context, a: Abstract, b: Abstract) -> tuple[Interval, Interval]:
    """Both operands' slopes, shaped to broadcast behind the agent axis."""
    rank = max(len(a.shape), len(b.shape))

    def pad(x: Abstract) -> Interval:
        s = x.slopes(c.n_agents)
        shape = (c.n_agents, *(1,) * (rank - len(x.shape)), *x.shape)
        return Interval(s.lo.reshape(shape), s.hi.reshape(shape))

    return pad(a), pad(b)


def plus(c: Context, a: Abstract, b: Abstract, alpha: float = 1) -> Abstract:
    """a + alpha * b."""
    if alpha == -1:
        b = negative(b)
    elif alpha != 1:
        b = times(c, b, c.literal(alpha))
    slope = None
    if a.slope is not None or b.slope is not None:
        slope = REAL.add(*paired_slopes(c, a, b))
    value = c.reading.add(a.value, b.value)
    return binary(c, a, b, value, slope, a.curved | b.curved, whole=a.whole & b.whole)


def negative(x: Abstract) -> Abstract:
    """-x."""
    slope = negate(x.slope) if x.slope is not None else None
    return known(negate(x.value), x.batch_axis, slope, x.curved, x.bad, nan=x.nan, whole=x.whole)


def times(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """a * b; affine in Q where one of them does not depend on Q."""
    if a is b:
        return c.apply("square.default", a)
    value = c.reading.multiply(a.value, b.value)
    slope, curved = None, a.curved | b.curved
    if a.slope is not None or b.slope is not None:
        sa, sb = paired_slopes(c, a, b)
        slope = REAL.add(REAL.multiply(sa, b.value), REAL.multiply(sb, a.value))
        zero = (value.lo == 0) & (value.hi == 0)
        # A factor that depends on Q multiplies the other: curved unless the other does not.
        curved = (curved | ~(a.independent() | b.independent())) & ~zero
    return binary(c, a, b, value, slope, curved, whole=a.whole & b.whole)


def over(c: Context, a: Abstract, b: Abstract) -> Abstract:
    """a / b: (a / b)' = (a' - (a / b) b') / b."""
    value = c.reading.divide(a.value, b.value)
    pole = (b.value.lo <= 0) & (b.value.hi >= 0)
    slope, curved = None, a.curved | b.curved
    if a.slope is not None or b.slope is not None:
        sa, sb = paired_slopes(c, a, b)
        change = REAL.add(sa, negate(REAL.multiply(value, sb)))
        slope = REAL.divide(change, b.value)
        # For any single state a divisor that does not depend on Q is one number; one that does
        # may cross its pole, where the quotient steps from one end of the reals to the other.
        moving = torch.broadcast_to(~b.independent(), value.lo.shape)
        steps = torch.broadcast_to(pole, value.lo.shape) & moving
        slope = Interval(torch.where(steps, -INF, slope.lo), torch.where(steps, INF, slope.hi))
        curved = curved | moving
        still = (~moving) & torch.broadcast_to(a.independent(), value.lo.shape)
        slope = Interval(torch.where(still, 0.0, slope.lo), torch.where(still, 0.0, slope.hi))
    return binary(c, a, b, value, slope, curved, bad=pole)


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
    x, y = c.tensor(a), c.tensor(b)
    if c.result_dtype == "int64" and _holds_zero(y):
        return c.unknown()
    out = over(c, x, y)
    if rounding_mode is None:
        return out
    f = torch.floor if rounding_mode == "floor" else torch.trunc
    # torch may round the quotient first, or find the whole part by a remainder: a unit either way
    # where the quotient is near a whole number.
    near = c.reading.outward(out.value, 2)
    odd = torch.broadcast_to(combine_bad(x, y), out.shape)  # -1 // inf is -1, -1 / inf is -0
    value = Interval(
        torch.where(odd, -INF, f(near.lo)),
        torch.where(odd, INF, f(near.hi)),
    )
    yes = torch.ones(out.shape, dtype=torch.bool)
    return jump(c, known(value, out.batch_axis, bad=out.bad, whole=yes), x, y)


@rule("remainder.Tensor", "remainder.Scalar", "fmod.Tensor", "fmod.Scalar")
def _remainder(c: Context, a: Any, b: Any) -> Abstract:
    x, y = c.tensor(a), c.tensor(b)
    if c.result_dtype == "int64" and _holds_zero(y):
        return c.unknown()
    shape = torch.broadcast_shapes(x.shape, y.shape)
    most = torch.broadcast_to(y.value.size(), shape)
    bad = combine_bad(x, y) | ((y.value.lo <= 0) & (y.value.hi >= 0))
    if c.result_dtype == "float":  # torch's kernels divide first, and that may overflow
        least = torch.minimum(y.value.lo.abs(), y.value.hi.abs())
        quotient = torch.broadcast_to(1.001 * x.value.size() / least, shape)
        bad = bad | c.overflow(Interval(torch.zeros_like(quotient), quotient))
    whole = torch.broadcast_to(x.whole & y.whole, shape)
    if c.op.startswith("aten.fmod"):  # the sign of the dividend
        negative_ends, positive_ends = x.value.lo < 0, x.value.hi > 0
    else:  # the sign of the divisor
        negative_ends, positive_ends = y.value.lo < 0, y.value.hi > 0
    value = Interval(
        torch.where(torch.broadcast_to(negative_ends, shape), -most, 0.0),
        torch.where(torch.broadcast_to(positive_ends, shape), most, 0.0),
    )
    out = known(value, c.result_axis, bad=torch.broadcast_to(bad, shape), whole=whole)
    return jump(c, out, x, y)


def _holds_zero(x: Abstract) -> bool:
    """Whether zero may be among the divisors of whole numbers (the runtime then divides by 1)."""
    return bool(((x.value.lo <= 0) & (x.value.hi >= 0)).any())


def _select(
    c: Context, a: Abstract, b: Abstract, first: Tensor, second: Tensor,
    pick: Callable[[Tensor, Tensor], Tensor],
) -> Abstract:  # fmt: skip
    """max or min of two: the slope of whichever counts, either where it is not known."""
    shape = first.shape
    value = Interval(pick(a.value.lo, b.value.lo), pick(a.value.hi, b.value.hi))
    slope, curved = None, (a.curved & ~second) | (b.curved & ~first)
    if a.slope is not None or b.slope is not None:
        sa, sb = paired_slopes(c, a, b)
        hull = sa.hull(sb)
        slope = Interval(
            torch.where(first, sa.lo, torch.where(second, sb.lo, hull.lo)),
            torch.where(first, sa.hi, torch.where(second, sb.hi, hull.hi)),
        )
        depends = ~(a.independent() & b.independent())
        curved = curved | (torch.broadcast_to(depends, shape) & ~(first | second))
    return binary(c, a, b, value, slope, curved, whole=a.whole & b.whole)


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


@rule("clamp.Tensor")
def clamp_tensor(c: Context, x: Abstract, low: Any = None, high: Any = None) -> Abstract:
    """Both ends as tensors, either of them optional."""
    out = x if low is None else maximum(c, x, low)
    return out if high is None else minimum(c, out, high)


@rule("atan2.default")
def _atan2(c: Context, a: Abstract, b: Abstract) -> Abstract:
    shape = torch.broadcast_shapes(a.shape, b.shape)
    full = torch.full(shape, math.pi + 1e-6, dtype=torch.float64)
    bad = torch.broadcast_to(combine_bad(a, b), shape)
    return jump(c, known(Interval(-full, full), c.result_axis, bad=bad), a, b)


@rule("lerp.Tensor", "lerp.Scalar")
def _lerp(c: Context, a: Abstract, b: Abstract, w: Any) -> Abstract:
    weight, apart = c.tensor(w), plus(c, b, a, -1)
    out = plus(c, a, times(c, weight, apart))
    # From weights of a half on torch starts at the other end: room for both ways of rounding.
    out = by_no_known_order(c, out)
    size = a.value.size() + b.value.size() + apart.value.size() * (1 + weight.value.size())
    room = c.reading.widen(out.value, size * 2.0**-21 + SMALLEST)
    return out.but(value=room, whole=torch.zeros_like(out.whole))


@rule("addcmul.default")
def _addcmul(c: Context, a: Abstract, x: Abstract, y: Abstract, value: float = 1) -> Abstract:
    out = plus(c, a, times(c, x, y), value)
    if value == 1:
        return out
    other = plus(c, a, times(c, times(c, c.literal(value), x), y))  # torch's order may be this
    return out.but(value=out.value.hull(other.value), bad=out.bad | other.bad)


@rule("addcdiv.default")
def _addcdiv(c: Context, a: Abstract, x: Abstract, y: Abstract, value: float = 1) -> Abstract:
    out = plus(c, a, over(c, x, y), value)
    if value == 1:
        return out
    other = plus(c, a, over(c, times(c, c.literal(value), x), y))  # torch's order may be this
    return out.but(value=out.value.hull(other.value), bad=out.bad | other.bad)


@rule("pow.Tensor_Tensor")
def _pow_of_tensors(c: Context, x: Abstract, p: Abstract) -> Abstract:
    if c.result_dtype == "int64" or bool((x.value.lo <= 0).any()):
        return c.unknown()
    logarithm = c.apply("log.default", x)
    return powers(c, times(c, p, logarithm), x.bad)


def powers(c: Context, exponent: Abstract, bad: Tensor) -> Abstract:
    """exp of p * log(x), with room for how torch's own kernel of the power rounds."""
    slack = exponent.value.size() * 2.0**-20
    room = c.reading.widen(exponent.value, torch.where(slack.isinf(), 0.0, slack))
    out = c.apply("exp.default", exponent.but(value=room))
    return out.but(bad=out.bad | torch.broadcast_to(bad, out.shape))
