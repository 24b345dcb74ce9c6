"""Rules for operations that move elements about, create them, or read and write at places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.domain import Abstract, Interval, known, point
from sandbox.prover.interpreter import Context, rule
from sandbox.prover.pointwise import jump, where

_Move = Callable[[list[Tensor]], Tensor]


def move(c: Context, operands: Sequence[Abstract], how: _Move) -> Abstract:
    """The same movement applied to every component of the operands."""

    def component(pick: Callable[[Abstract], Tensor]) -> Tensor:
        return how([pick(x) for x in operands])

    slope = None
    if any(x.slope is not None for x in operands):
        all_slopes = [x.slopes(c.n_agents) for x in operands]
        slope = Interval(
            torch.stack([how([s.lo[i] for s in all_slopes]) for i in range(c.n_agents)]),
            torch.stack([how([s.hi[i] for s in all_slopes]) for i in range(c.n_agents)]),
        )
    value = Interval(component(lambda x: x.value.lo), component(lambda x: x.value.hi))
    return known(
        value, c.result_axis, slope, component(lambda x: x.curved), component(lambda x: x.bad)
    )


def _on_batch(x: Abstract, dim: int) -> bool:
    return x.batch_axis is not None and dim % max(1, len(x.shape)) == x.batch_axis


@rule("reshape.default")
def _reshape(c: Context, x: Abstract, _size: Any) -> Abstract:
    target, axis = c.result_shape, c.result_axis
    if x.batch_axis is not None and axis is not None:
        if math.prod(x.shape[: x.batch_axis]) != math.prod(target[:axis]):
            return c.unknown()  # rows would be interleaved
    return move(c, [x], lambda t: t[0].reshape(target))


@rule("expand.default")
def _expand(c: Context, x: Abstract, _size: Any, implicit: bool = False) -> Abstract:
    return move(c, [x], lambda t: t[0].expand(c.result_shape))


@rule("permute.default")
def _permute(c: Context, x: Abstract, dims: list[int]) -> Abstract:
    return move(c, [x], lambda t: t[0].permute(dims))


@rule("transpose.int")
def _transpose(c: Context, x: Abstract, a: int, b: int) -> Abstract:
    return move(c, [x], lambda t: t[0].transpose(a, b))


@rule("t.default")
def _t(c: Context, x: Abstract) -> Abstract:
    return move(c, [x], lambda t: t[0].t())


@rule("unsqueeze.default")
def _unsqueeze(c: Context, x: Abstract, dim: int) -> Abstract:
    return move(c, [x], lambda t: t[0].unsqueeze(dim))


@rule("squeeze.default", "squeeze.dim", "squeeze.dims")
def _squeeze(c: Context, x: Abstract, _dim: Any = None) -> Abstract:
    return move(c, [x], lambda t: t[0].reshape(c.result_shape))


@rule("select.int")
def _select(c: Context, x: Abstract, dim: int, index: int) -> Abstract:
    if _on_batch(x, dim):
        return c.unknown()
    return move(c, [x], lambda t: t[0].select(dim, index))


@rule("slice.Tensor")
def _slice(
    c: Context, x: Abstract, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Abstract:
    if _on_batch(x, dim):
        return c.unknown()  # a whole slice is dropped at export, so this one picks rows
    return move(c, [x], lambda t: torch.ops.aten.slice.Tensor(t[0], dim, start, end, step))


@rule("select_scatter.default")
def _select_scatter(c: Context, x: Abstract, src: Abstract, dim: int, index: int) -> Abstract:
    if _on_batch(x, dim):
        return c.unknown()
    return move(c, [x, src], lambda t: torch.select_scatter(t[0], t[1], dim, index))


@rule("slice_scatter.default")
def _slice_scatter(
    c: Context, x: Abstract, src: Abstract, dim: int = 0, start: Any = None, end: Any = None,
    step: int = 1,
) -> Abstract:  # fmt: skip
    if _on_batch(x, dim):
        return c.unknown()
    call = torch.ops.aten.slice_scatter.default
    return move(c, [x, src], lambda t: call(t[0], t[1], dim, start, end, step))


@rule("cat.default")
def _cat(c: Context, parts: list[Abstract], dim: int = 0) -> Abstract:
    if any(_on_batch(p, dim) for p in parts):
        return c.unknown()
    return move(c, parts, lambda t: torch.cat(t, dim))


@rule("stack.default")
def _stack(c: Context, parts: list[Abstract], dim: int = 0) -> Abstract:
    return move(c, parts, lambda t: torch.stack(t, dim))


@rule("split.Tensor", "split_with_sizes.default")
def _split(c: Context, x: Abstract, size: Any, dim: int = 0) -> tuple[Abstract, ...]:
    if _on_batch(x, dim):
        return (c.unknown(),)
    count = len(c.result_shapes)
    return tuple(move(c, [x], lambda t, k=k: t[0].split(size, dim)[k]) for k in range(count))


@rule("unbind.int")
def _unbind(c: Context, x: Abstract, dim: int = 0) -> tuple[Abstract, ...]:
    if _on_batch(x, dim):
        return (c.unknown(),)
    return tuple(
        move(c, [x], lambda t, k=k: t[0].select(dim, k)) for k in range(len(c.result_shapes))
    )


@rule("flip.default")
def _flip(c: Context, x: Abstract, dims: list[int]) -> Abstract:
    if any(_on_batch(x, d) for d in dims):
        return c.unknown()
    return move(c, [x], lambda t: t[0].flip(dims))


@rule("roll.default")
def _roll(c: Context, x: Abstract, shifts: list[int], dims: Sequence[int] = ()) -> Abstract:
    if not dims or any(_on_batch(x, d) for d in dims):
        return c.unknown()
    return move(c, [x], lambda t: t[0].roll(tuple(shifts), tuple(dims)))


@rule("repeat.default")
def _repeat(c: Context, x: Abstract, repeats: list[int]) -> Abstract:
    return move(c, [x], lambda t: t[0].repeat(repeats))


@rule("tril.default")
def _tril(c: Context, x: Abstract, diagonal: int = 0) -> Abstract:
    if x.batch_axis is not None and x.batch_axis >= len(x.shape) - 2:
        return c.unknown()
    return move(c, [x], lambda t: t[0].tril(diagonal))


@rule("triu.default")
def _triu(c: Context, x: Abstract, diagonal: int = 0) -> Abstract:
    if x.batch_axis is not None and x.batch_axis >= len(x.shape) - 2:
        return c.unknown()
    return move(c, [x], lambda t: t[0].triu(diagonal))


@rule("diagonal.default")
def _diagonal(c: Context, x: Abstract, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Abstract:
    if _on_batch(x, dim1) or _on_batch(x, dim2):
        return c.unknown()
    return move(c, [x], lambda t: t[0].diagonal(offset, dim1, dim2))


@rule("constant_pad_nd.default")
def _pad(c: Context, x: Abstract, pad: list[int], value: float = 0) -> Abstract:
    padded = [len(x.shape) - 1 - k // 2 for k, p in enumerate(pad) if p]
    if any(_on_batch(x, d) for d in padded):
        return c.unknown()
    out = move(c, [x], lambda t: torch.ops.aten.constant_pad_nd.default(t[0], pad, 0))
    if not value:
        return out
    inside = torch.ones(x.shape, dtype=torch.float64)
    filled = torch.ops.aten.constant_pad_nd.default(inside, pad, 0) == 0
    lo = torch.where(filled, float(value), out.value.lo)
    hi = torch.where(filled, float(value), out.value.hi)
    return known(Interval(lo, hi), out.batch_axis, out.slope, out.curved, out.bad)


# ---- creation ------------------------------------------------------------------------------------


@rule("zeros.default", "zeros_like.default", "new_zeros.default")
def _zeros(c: Context, *_: Any, **__: Any) -> Abstract:
    return point(torch.zeros(c.result_shape), c.result_axis)


@rule("ones.default", "ones_like.default", "new_ones.default")
def _ones(c: Context, *_: Any, **__: Any) -> Abstract:
    return point(torch.ones(c.result_shape), c.result_axis)


@rule("full.default", "full_like.default")
def _full(c: Context, _like: Any, value: float, **__: Any) -> Abstract:
    return _literal(c, torch.full(c.result_shape, float(value), dtype=torch.float64))


@rule("new_full.default")
def _new_full(c: Context, _like: Any, _size: Any, value: float, **__: Any) -> Abstract:
    return _literal(c, torch.full(c.result_shape, float(value), dtype=torch.float64))


@rule("scalar_tensor.default")
def _scalar(c: Context, value: float, **__: Any) -> Abstract:
    return _literal(c, torch.tensor(float(value), dtype=torch.float64))


def _literal(c: Context, value: Tensor) -> Abstract:
    out = point(value, c.result_axis)
    return known(c.reading.outward(out.value), out.batch_axis, bad=out.bad)


@rule("arange.default", "arange.start", "arange.start_step", "linspace.default", "eye.default", "eye.m")
def _sequence(c: Context, *args: Any, **_: Any) -> Abstract:
    if c.result_axis is not None:
        return c.unknown()  # numbers the rows
    packet, overload = c.op.split(".")[1:]
    call = getattr(getattr(torch.ops.aten, packet), overload)
    return _literal(c, call(*args, dtype=torch.float64))


# ---- reading and writing at places ---------------------------------------------------------------


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
    )


@rule("gather.default")
def _gather(c: Context, x: Abstract, dim: int, index: Abstract, sparse_grad: bool = False) -> Abstract:
    if _on_batch(x, dim) or x.batch_axis != index.batch_axis and x.batch_axis is not None:
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
    if _on_batch(x, dim) or index.batch_axis is not None:
        return c.unknown()
    if index.constant:
        at = index.value.lo.long().clamp(0, x.shape[dim] - 1)
        return move(c, [x], lambda t: t[0].index_select(dim, at))
    return jump(c, _hull_along(c, x, dim, c.result_shape), index)


@rule("index.Tensor")
def _index(c: Context, x: Abstract, indices: list[Abstract | None]) -> Abstract:
    touched = [d for d, i in enumerate(indices) if i is not None]
    given = [i for i in indices if i is not None]
    if any(_on_batch(x, d) for d in touched) or any(i.batch_axis is not None for i in given):
        return c.unknown()
    if not all(i.constant for i in given):
        return c.unknown()
    at = [
        None if i is None else i.value.lo.long().clamp(-x.shape[d], x.shape[d] - 1)
        for d, i in enumerate(indices)
    ]
    return move(c, [x], lambda t: torch.ops.aten.index.Tensor(t[0], at))


@rule("index_put.default")
def _index_put(
    c: Context, x: Abstract, indices: list[Abstract | None], values: Abstract, accumulate: bool = False
) -> Abstract:
    given = [i for i in indices if i is not None]
    if not accumulate and len(indices) == 1 and c.operand_dtypes[1] == torch.bool:
        mask = given[0]
        rest = len(x.shape) - len(mask.shape)
        if len(values.shape) > rest:
            if any(n != 1 for n in values.shape[: len(values.shape) - rest]):
                return c.unknown()  # one value for each place that is set
        shape = (*mask.shape, *(1,) * rest)
        return where(c, move(c, [mask], lambda t: t[0].reshape(shape)), values, x)
    return c.unknown()


@rule("scatter.src", "scatter.value")
def _scatter(c: Context, x: Abstract, dim: int, index: Abstract, source: Any) -> Abstract:
    src = c.tensor(source)
    if _on_batch(x, dim) or (x.batch_axis is not None and index.batch_axis != x.batch_axis):
        return c.unknown()
    either = point(torch.full(x.shape, 0.5, dtype=torch.float64), x.batch_axis)
    either = known(
        Interval(torch.zeros_like(either.value.lo), torch.ones_like(either.value.hi)), x.batch_axis
    )
    if len(src.shape) and tuple(src.shape) != tuple(x.shape):
        return c.unknown()
    spread = src if not len(src.shape) else _hull_along(c, src, dim, tuple(x.shape))
    return jump(c, where(c, either, spread, x), index)
