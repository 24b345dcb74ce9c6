"""Rules for comparisons, logic, and choosing by a condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import combine_bad, jump, paired_slopes, steep
from sandbox.prover.domain import REAL, Abstract, Interval, known, negate
from sandbox.prover.registry import Context, broadcast, rule

_ORDER: dict[str, Callable[[Interval, Interval], tuple[Tensor, Tensor]]] = {
    # surely true, surely false
    "lt": lambda a, b: (a.hi < b.lo, a.lo >= b.hi),
    "le": lambda a, b: (a.hi <= b.lo, a.lo > b.hi),
    "gt": lambda a, b: (a.lo > b.hi, a.hi <= b.lo),
    "ge": lambda a, b: (a.lo >= b.hi, a.hi < b.lo),
    "eq": lambda a, b: (_same_point(a, b), (a.hi < b.lo) | (a.lo > b.hi)),
    "ne": lambda a, b: ((a.hi < b.lo) | (a.lo > b.hi), _same_point(a, b)),
}


def _same_point(a: Interval, b: Interval) -> Tensor:
    return (a.lo == a.hi) & (b.lo == b.hi) & (a.lo == b.lo)


_RISES = {"gt": 1, "ge": 1, "lt": -1, "le": -1}


def _comparison(
    name: str, decide: Callable[[Interval, Interval], tuple[Tensor, Tensor]]
) -> Callable[..., Abstract]:
    def apply(c: Context, left: Any, right: Any) -> Abstract:
        a, b = c.tensor(left), c.tensor(right)
        true, false = decide(a.value, b.value)
        unsure = torch.broadcast_to(combine_bad(a, b), true.shape)
        out = truth(c, true & ~unsure, false & ~unsure)
        if name not in _RISES or (a.slope is None and b.slope is None):
            return jump(c, out, a, b)
        if bool(combine_bad(a, b).any()) or not c.trusts_operands():
            return jump(c, out, a, b)
        if _RISES[name] < 0:
            a, b = b, a
        sa, sb = paired_slopes(c, a, b)
        return _stepped(out, REAL.add(sa, negate(sb)), jump(c, out, a, b))

    return apply


def _stepped(out: Abstract, change: Interval, jumped: Abstract) -> Abstract:
    """A condition that can change in one direction only, where what it compares moves in one."""
    s = jumped.slope
    if s is None:
        return jumped
    moves = (s.lo < 0) | (s.hi > 0)
    up = moves & (change.lo >= 0) & (change.hi > 0)
    down = moves & (change.hi <= 0) & (change.lo < 0)
    slope = Interval(torch.where(up, 0.0, s.lo), torch.where(down, 0.0, s.hi))
    return known(out.value, out.batch_axis, slope, jumped.curved)


for _name, _decide in _ORDER.items():
    rule(f"{_name}.Tensor", f"{_name}.Scalar")(_comparison(_name, _decide))


def truth(c: Context, true: Tensor, false: Tensor) -> Abstract:
    """A condition that is surely true, surely false, or either."""
    return known(Interval(true.to(torch.float64), (~false).to(torch.float64)), c.result_axis)


def settled(x: Abstract) -> tuple[Tensor, Tensor]:
    """Where a value is surely non-zero, surely zero."""
    nonzero = ((x.value.lo > 0) | (x.value.hi < 0)) & ~x.bad
    return nonzero, (x.value.lo == 0) & (x.value.hi == 0) & ~x.bad


@rule("isnan.default", "isinf.default")
def _is_special(c: Context, x: Abstract) -> Abstract:
    return jump(c, truth(c, torch.zeros_like(x.bad), ~x.bad), x)


@rule("logical_not.default", "bitwise_not.default")
def _not(c: Context, x: Abstract) -> Abstract:
    if c.op == "aten.bitwise_not.default" and c.result_dtype != "bool":
        return c.unknown()
    true, false = settled(x)
    out = truth(c, false, true)
    if not x.is_condition or x.slope is None:
        return jump(c, out, x)
    return known(out.value, out.batch_axis, negate(x.slope), x.curved)


def _joined(c: Context, out: Abstract, a: Abstract, b: Abstract) -> Abstract:
    """Both or either of two conditions: it changes as they do, and not where it is settled."""
    if not (a.is_condition and b.is_condition) or (a.slope is None and b.slope is None):
        return jump(c, out, a, b)
    sa, sb = paired_slopes(c, a, b)
    still = (out.value.lo == out.value.hi).unsqueeze(0)
    lo = torch.minimum(sa.lo, sb.lo).clamp(max=0.0)
    hi = torch.maximum(sa.hi, sb.hi).clamp(min=0.0)
    slope = Interval(torch.where(still, 0.0, lo), torch.where(still, 0.0, hi))
    curved = torch.broadcast_to(a.curved | b.curved, out.shape)
    return known(out.value, out.batch_axis, slope, curved)


@rule("logical_and.default", "bitwise_and.Tensor", "bitwise_and.Scalar")
def _and(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != "bool":
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = settled(a), settled(b)
    return _joined(c, truth(c, at & bt, af | bf), a, b)


@rule("logical_or.default", "bitwise_or.Tensor", "bitwise_or.Scalar")
def _or(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != "bool":
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = settled(a), settled(b)
    return _joined(c, truth(c, at | bt, af & bf), a, b)


@rule("logical_xor.default", "bitwise_xor.Tensor", "bitwise_xor.Scalar")
def _xor(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != "bool":
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = settled(a), settled(b)
    return jump(c, truth(c, (at & bf) | (af & bt), (at & bt) | (af & bf)), a, b)


@rule("where.self", "where.Scalar", "where.ScalarOther", "where.ScalarSelf")
def where(c: Context, condition: Abstract, left: Any, right: Any) -> Abstract:
    """a where the condition holds, else b; both where it is not known.

    For each single state a condition that does not depend on Q is settled, so the hull of both
    slopes is right; one that depends on Q makes a step.
    """
    shape = torch.broadcast_shapes(
        condition.shape, *(x.shape for x in (left, right) if isinstance(x, Abstract))
    )
    a, b = broadcast(c.tensor(left), shape), broadcast(c.tensor(right), shape)
    true, false = (torch.broadcast_to(t, shape) for t in settled(condition))
    hull = a.value.hull(b.value)

    def pick(x: Tensor, y: Tensor, either: Tensor) -> Tensor:
        return torch.where(true, x, torch.where(false, y, either))

    slope = None
    if a.slope is not None or b.slope is not None:
        sa, sb = paired_slopes(c, a, b)
        either = sa.hull(sb)
        slope = Interval(pick(sa.lo, sb.lo, either.lo), pick(sa.hi, sb.hi, either.hi))
    out = known(
        Interval(pick(a.value.lo, b.value.lo, hull.lo), pick(a.value.hi, b.value.hi, hull.hi)),
        c.result_axis,
        slope,
        pick(a.curved, b.curved, a.curved | b.curved),
        pick(a.bad, b.bad, a.bad | b.bad),
        nan=pick(a.nan, b.nan, a.nan | b.nan),
        whole=pick(a.whole, b.whole, a.whole & b.whole),
    )
    if condition.slope is None:
        return out
    moves = torch.broadcast_to(~condition.independent(), shape) & ~(true | false)
    return _switched(out, steep(c, out, moves, condition), condition, a.value, b.value)


def _switched(
    out: Abstract, jumped: Abstract, condition: Abstract, a: Interval, b: Interval
) -> Abstract:
    """A choice whose condition changes in one direction only, between values that do not cross."""
    wild = jumped.slope
    if wild is None or condition.slope is None:
        return jumped
    n = len(wild.lo)
    own = out.slopes(n)
    shape = (n, *(1,) * (len(out.shape) - len(condition.shape)), *condition.shape)
    lo, hi = condition.slope.lo.reshape(shape), condition.slope.hi.reshape(shape)
    up, down = a.lo >= b.hi, a.hi <= b.lo
    rises = ((lo >= 0) & up) | ((hi <= 0) & down)
    falls = ((hi <= 0) & up) | ((lo >= 0) & down)
    slope = Interval(torch.where(rises, own.lo, wild.lo), torch.where(falls, own.hi, wild.hi))
    return replace(jumped, slope=slope)


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(c: Context, x: Abstract, mask: Abstract, value: Any) -> Abstract:
    return where(c, mask, value, x)


@rule("fill.Scalar", "fill.Tensor")
def _fill(c: Context, x: Abstract, value: Any) -> Abstract:
    return broadcast(c.tensor(value), tuple(x.shape))


@rule("_to_copy.default")
def _to_copy(c: Context, x: Abstract, dtype: Any = None) -> Abstract:
    kind = c.result_dtype
    if kind == "bool":
        true, false = settled(x)
        return jump(c, truth(c, true, false), x)
    if kind == "int64" and c.operand_dtypes[0] == "float":
        if bool(x.bad.any()):
            return c.unknown()  # what NaN and infinity become is undefined
        value = Interval(x.value.lo.trunc(), x.value.hi.trunc())
        out = jump(c, known(value, x.batch_axis), x)
        if x.slope is None or out.slope is None:
            return out
        rising = torch.where(x.slope.lo >= 0, 0.0, out.slope.lo)
        return replace(out, slope=Interval(rising, torch.where(x.slope.hi <= 0, 0.0, out.slope.hi)))
    if kind == "int64":
        return x
    value = Interval(c.reading.literal(x.value.lo).lo, c.reading.literal(x.value.hi).hi)
    return known(value, x.batch_axis, x.slope, x.curved, x.bad, nan=x.nan, whole=x.whole)
