"""Rules for comparisons, logic, and choosing by a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import combine_bad, jump, paired_slopes, steep
from sandbox.prover.domain import Abstract, Interval, known
from sandbox.prover.interpreter import Context, broadcast, rule

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


def _comparison(
    decide: Callable[[Interval, Interval], tuple[Tensor, Tensor]],
) -> Callable[..., Abstract]:
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


def settled(x: Abstract) -> tuple[Tensor, Tensor]:
    """Where a value is surely non-zero, surely zero."""
    nonzero = ((x.value.lo > 0) | (x.value.hi < 0)) & ~x.bad
    return nonzero, (x.value.lo == 0) & (x.value.hi == 0) & ~x.bad


@rule("isnan.default", "isinf.default")
def _is_special(c: Context, x: Abstract) -> Abstract:
    return jump(c, truth(c, torch.zeros_like(x.bad), ~x.bad), x)


@rule("logical_not.default", "bitwise_not.default")
def _not(c: Context, x: Abstract) -> Abstract:
    if c.op == "aten.bitwise_not.default" and c.result_dtype != torch.bool:
        return c.unknown()
    true, false = settled(x)
    return jump(c, truth(c, false, true), x)


@rule("logical_and.default", "bitwise_and.Tensor", "bitwise_and.Scalar")
def _and(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = settled(a), settled(b)
    return jump(c, truth(c, at & bt, af | bf), a, b)


@rule("logical_or.default", "bitwise_or.Tensor", "bitwise_or.Scalar")
def _or(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
        return c.unknown()
    a, b = c.tensor(left), c.tensor(right)
    (at, af), (bt, bf) = settled(a), settled(b)
    return jump(c, truth(c, at | bt, af & bf), a, b)


@rule("logical_xor.default", "bitwise_xor.Tensor", "bitwise_xor.Scalar")
def _xor(c: Context, left: Any, right: Any) -> Abstract:
    if c.result_dtype != torch.bool:
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
    return steep(c, out, torch.broadcast_to(~condition.independent(), shape) & ~(true | false))


@rule("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(c: Context, x: Abstract, mask: Abstract, value: Any) -> Abstract:
    return where(c, mask, value, x)


@rule("fill.Scalar", "fill.Tensor")
def _fill(c: Context, x: Abstract, value: Any) -> Abstract:
    return broadcast(c.tensor(value), tuple(x.shape))


@rule("_to_copy.default")
def _to_copy(c: Context, x: Abstract, dtype: Any = None) -> Abstract:
    kind = c.result_dtype
    if kind == torch.bool:
        true, false = settled(x)
        return jump(c, truth(c, true, false), x)
    if kind == torch.int64 and c.operand_dtypes[0].is_floating_point:
        if bool(x.bad.any()):
            return c.unknown()  # what NaN and infinity become is undefined
        value = Interval(x.value.lo.trunc(), x.value.hi.trunc())
        return jump(c, known(value, x.batch_axis), x)
    if kind == torch.int64:
        return x
    value = Interval(c.reading.literal(x.value.lo).lo, c.reading.literal(x.value.hi).hi)
    return known(value, x.batch_axis, x.slope, x.curved, x.bad, nan=x.nan, whole=x.whole)
