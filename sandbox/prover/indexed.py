"""Rules for operations that read or write at computed places (which the runtime clamps)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sandbox.prover.arithmetic import jump, plus, steep
from sandbox.prover.conditions import where
from sandbox.prover.domain import SMALLEST, Abstract, Interval, known
from sandbox.prover.folding import summed
from sandbox.prover.registry import Context, rule
from sandbox.prover.structural import move, on_batch


def _hull_along(c: Context, x: Abstract, dim: int, like: tuple[int, ...]) -> Abstract:
    """Any element along a dimension, in a given shape."""

    def low(t: Tensor) -> Tensor:
        return t.amin(dim, keepdim=True).expand(like)

    def high(t: Tensor) -> Tensor:
        return t.amax(dim, keepdim=True).expand(like)

    slope = None
    if x.slope is not None:
        slope = Interval(
            torch.stack([low(s) for s in x.slope.lo]), torch.stack([high(s) for s in x.slope.hi])
        )
    return known(
        Interval(low(x.value.lo), high(x.value.hi)),
        c.result_axis,
        slope,
        high(x.curved.to(torch.uint8)).bool(),
        high(x.bad.to(torch.uint8)).bool(),
        whole=low(x.whole.to(torch.uint8)).bool(),
    )


@rule("gather.default")
def _gather(
    c: Context, x: Abstract, dim: int, index: Abstract, sparse_grad: bool = False
) -> Abstract:
    if on_batch(x, dim) or (x.batch_axis != index.batch_axis and x.batch_axis is not None):
        return c.unknown()
    for d, size in enumerate(index.shape):
        if d != dim % len(x.shape) and size != x.shape[d]:
            return c.unknown()
    if index.constant:
        at = index.value.lo.long().clamp(0, x.shape[dim] - 1)
        return move(c, [x], lambda t: t[0].gather(dim, at))
    return jump(c, _hull_along(c, x, dim, tuple(index.shape)), index)


@rule("index_select.default")
def _index_select(c: Context, x: Abstract, dim: int, index: Abstract) -> Abstract:
    if on_batch(x, dim) or index.batch_axis is not None:
        return c.unknown()
    if index.constant:
        at = index.value.lo.long().clamp(0, x.shape[dim] - 1)
        return move(c, [x], lambda t: t[0].index_select(dim, at))
    return jump(c, _hull_along(c, x, dim, c.result_shape), index)


@rule("index.Tensor")
def _index(c: Context, x: Abstract, indices: list[Abstract | None]) -> Abstract:
    touched = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    if any(t == "bool" for t in c.operand_dtypes[1:]):
        return c.unknown()
    if any(on_batch(x, d) for d in touched):
        return c.unknown()
    if all(i.constant and i.batch_axis is None for i in given):
        at = _constant_places(x, indices)
        return move(c, [x], lambda t: torch.ops.aten.index.Tensor(t[0], at))
    return _look_up(c, x, touched, given)


def _look_up(c: Context, x: Abstract, touched: list[int], given: list[Abstract]) -> Abstract:
    """Any element along the dimensions that are indexed by what is computed."""
    first, last = touched[0], touched[-1]
    if x.batch_axis is not None or touched != list(range(first, last + 1)):
        return c.unknown()
    spread = torch.broadcast_shapes(*(i.shape for i in given))
    before, after = x.shape[:first], x.shape[last + 1 :]

    def lined(t: list[Tensor]) -> Tensor:
        return t[0].reshape((*before, -1, *after))

    def in_place(t: list[Tensor]) -> Tensor:
        middle = t[0].reshape((*before, *(1,) * len(spread), *after))
        return middle.expand((*before, *spread, *after))

    line = move(c, [x], lined)
    any_of = _hull_along(c, line, first, (*before, 1, *after))
    return jump_all(c, move(c, [any_of], in_place), *given)


def jump_all(c: Context, out: Abstract, *sources: Abstract) -> Abstract:
    """``out`` with unbounded slope everywhere if any source depends on Q."""
    if all(bool(s.independent().all()) for s in sources):
        return out
    return steep(c, out, torch.ones(out.shape, dtype=torch.bool))


@rule("index_put.default")
def _index_put(
    c: Context,
    x: Abstract,
    indices: list[Abstract | None],
    values: Abstract,
    accumulate: bool = False,
) -> Abstract:
    given = [i for i in indices if i is not None]
    if not accumulate and len(indices) == 1 and c.operand_dtypes[1] == "bool":
        mask = given[0]
        rest = len(x.shape) - len(mask.shape)
        if values.batch_axis is not None:
            return c.unknown()
        if len(values.shape) > rest:  # the runtime has refused one value for each place
            tail = values.shape[len(values.shape) - rest :]
            values = move(c, [values], lambda t: t[0].reshape(tail))
        shape = (*mask.shape, *(1,) * rest)
        return where(c, move(c, [mask], lambda t: t[0].reshape(shape)), values, x)
    return _put_at_constants(c, x, indices, values, accumulate)


def _put_at_constants(
    c: Context, x: Abstract, indices: list[Abstract | None], values: Abstract, accumulate: bool
) -> Abstract:
    """A write at known places, each of them once."""
    given = [i for i in indices if i is not None]
    if accumulate or any(on_batch(x, d) for d, i in enumerate(indices) if i is not None):
        return c.unknown()
    if any(i.batch_axis is not None or not i.constant for i in given):
        return c.unknown()
    at = _constant_places(x, indices)
    put = torch.ops.aten.index_put.default
    times = put(torch.zeros(x.shape), at, torch.ones(()), True)
    if bool((times > 1).any()):
        return c.unknown()  # which of several writes stays is not defined
    return move(c, [x, values], lambda t: put(t[0], at, t[1]))


def _constant_places(x: Abstract, indices: list[Abstract | None]) -> list[Tensor | None]:
    """Known indices, clamped as the runtime clamps them."""
    return [
        None if i is None else i.value.lo.long().clamp(-x.shape[d], x.shape[d] - 1)
        for d, i in enumerate(indices)
    ]


@rule("scatter.src", "scatter.value")
def _scatter(c: Context, x: Abstract, dim: int, index: Abstract, source: Any) -> Abstract:
    src = c.tensor(source)
    if on_batch(x, dim) or (x.batch_axis is not None and index.batch_axis != x.batch_axis):
        return c.unknown()
    zero = torch.zeros(x.shape, dtype=torch.float64)
    either = known(Interval(zero, zero + 1), x.batch_axis)
    if len(src.shape) and tuple(src.shape) != tuple(x.shape):
        return c.unknown()
    spread = src if not len(src.shape) else _hull_along(c, src, dim, tuple(x.shape))
    return jump(c, where(c, either, spread, x), index)


@rule("scatter_add.default")
def _scatter_add(c: Context, x: Abstract, dim: int, index: Abstract, src: Abstract) -> Abstract:
    rank = len(x.shape)
    if not rank or on_batch(x, dim) or index.slope is not None:
        return c.unknown()
    if not (x.batch_axis == index.batch_axis == src.batch_axis):
        return c.unknown()
    if tuple(src.shape) != tuple(index.shape):
        return c.unknown()
    # An element may get anything from nothing to all of what is on its line.
    at = dim % rank
    if any(n != m for d, (n, m) in enumerate(zip(src.shape, x.shape, strict=True)) if d != at):
        return c.unknown()
    part = src.slopes(c.n_agents)
    reach = known(
        Interval(src.value.lo.clamp(max=0.0), src.value.hi.clamp(min=0.0)),
        src.batch_axis,
        None if src.slope is None else Interval(part.lo.clamp(max=0.0), part.hi.clamp(min=0.0)),
        src.curved,
        src.bad,
        whole=src.whole,
    )
    given = move(c, [reach], lambda t: t[0].movedim(at, 0))
    line = summed(c, given, [0], False)
    spread = move(c, [line], lambda t: t[0].unsqueeze(at).expand(x.shape))
    out = plus(c, x, spread)
    if not c.reading.float32:
        return out
    size = (x.value.size() + spread.value.size()) * (2.0**-23 * (src.shape[at] + 1)) + SMALLEST
    return out.but(value=c.reading.widen(out.value, size.nan_to_num(posinf=0.0)))
