"""Rules for operations that move elements about, or create them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sandbox.prover.conditions import where
from sandbox.prover.domain import FLOAT32_MAX, Abstract, Interval, known, point
from sandbox.prover.registry import Context, rule

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
        value,
        c.result_axis,
        slope,
        component(lambda x: x.curved),
        component(lambda x: x.bad),
        nan=component(lambda x: x.nan),
        whole=component(lambda x: x.whole),
    )


def element(c: Context, x: Abstract, dim: int, k: int) -> Abstract:
    """x[k] along a dimension."""
    return move(c, [x], lambda t: t[0].select(dim, k))


def on_batch(x: Abstract, dim: int) -> bool:
    """Whether a dimension is the batch."""
    return x.batch_axis is not None and dim % max(1, len(x.shape)) == x.batch_axis


@rule("reshape.default")
def _reshape(c: Context, x: Abstract, _size: Any) -> Abstract:
    target, axis = c.result_shape, c.result_axis
    if x.batch_axis is not None and axis is not None:
        before, after = math.prod(x.shape[: x.batch_axis]), math.prod(target[:axis])
        if before != after:
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
    if on_batch(x, dim):
        return c.unknown()
    return move(c, [x], lambda t: t[0].select(dim, index))


@rule("slice.Tensor")
def _slice(
    c: Context, x: Abstract, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Abstract:
    if on_batch(x, dim):
        return c.unknown()  # a whole slice is dropped at export, so this one picks rows
    return move(c, [x], lambda t: torch.ops.aten.slice.Tensor(t[0], dim, start, end, step))


@rule("select_scatter.default")
def _select_scatter(c: Context, x: Abstract, src: Abstract, dim: int, index: int) -> Abstract:
    if on_batch(x, dim):
        return c.unknown()
    return move(c, [x, src], lambda t: torch.select_scatter(t[0], t[1], dim, index))


@rule("slice_scatter.default")
def _slice_scatter(
    c: Context, x: Abstract, src: Abstract, dim: int = 0, start: Any = None, end: Any = None,
    step: int = 1,
) -> Abstract:  # fmt: skip
    if on_batch(x, dim):
        return c.unknown()
    call = torch.ops.aten.slice_scatter.default
    return move(c, [x, src], lambda t: call(t[0], t[1], dim, start, end, step))


@rule("cat.default")
def _cat(c: Context, parts: list[Abstract], dim: int = 0) -> Abstract:
    if any(on_batch(p, dim) for p in parts):
        return c.unknown()
    return move(c, parts, lambda t: torch.cat(t, dim))


@rule("stack.default")
def _stack(c: Context, parts: list[Abstract], dim: int = 0) -> Abstract:
    return move(c, parts, lambda t: torch.stack(t, dim))


@rule("split.Tensor", "split_with_sizes.default")
def _split(c: Context, x: Abstract, size: Any, dim: int = 0) -> tuple[Abstract, ...]:
    if on_batch(x, dim):
        return (c.unknown(),)
    count = len(c.results)

    def part(k: int) -> Abstract:
        return move(c, [x], lambda t: t[0].split(size, dim)[k])

    return tuple(part(k) for k in range(count))


@rule("unbind.int")
def _unbind(c: Context, x: Abstract, dim: int = 0) -> tuple[Abstract, ...]:
    if on_batch(x, dim):
        return (c.unknown(),)
    return tuple(element(c, x, dim, k) for k in range(len(c.results)))


@rule("flip.default")
def _flip(c: Context, x: Abstract, dims: list[int]) -> Abstract:
    if any(on_batch(x, d) for d in dims):
        return c.unknown()
    return move(c, [x], lambda t: t[0].flip(dims))


@rule("roll.default")
def _roll(c: Context, x: Abstract, shifts: list[int], dims: Sequence[int] = ()) -> Abstract:
    if not dims or any(on_batch(x, d) for d in dims):
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
    if on_batch(x, dim1) or on_batch(x, dim2):
        return c.unknown()
    return move(c, [x], lambda t: t[0].diagonal(offset, dim1, dim2))


@rule("constant_pad_nd.default")
def _pad(c: Context, x: Abstract, pad: list[int], value: float = 0) -> Abstract:
    padded = [len(x.shape) - 1 - k // 2 for k, p in enumerate(pad) if p]
    if any(on_batch(x, d) for d in padded):
        return c.unknown()
    out = move(c, [x], lambda t: torch.ops.aten.constant_pad_nd.default(t[0], pad, 0))
    inside = torch.ops.aten.constant_pad_nd.default(torch.ones(x.shape), pad, 0) != 0
    mask = known(Interval(inside.double(), inside.double()), c.result_axis)
    return where(c, mask, out, c.literal(value))


@rule("diag_embed.default")
def _diag_embed(
    c: Context, x: Abstract, offset: int = 0, dim1: int = -2, dim2: int = -1
) -> Abstract:
    out = move(c, [x], lambda t: torch.diag_embed(t[0], offset, dim1, dim2))
    off = ~torch.diag_embed(torch.ones(x.shape, dtype=torch.bool), offset, dim1, dim2)
    return out.but(whole=out.whole | off)


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
    return point(value, c.result_axis, c.reading)


_SEQUENCES: dict[str, Callable[..., Tensor]] = {
    f"aten.{name}": getattr(getattr(torch.ops.aten, packet), overload)
    for name in "arange.default arange.start arange.start_step linspace.default eye.default "
    "eye.m".split()
    for packet, overload in [name.split(".")]
}


EXACT32 = 2**24
"""Whole numbers up to this size float32 holds exactly."""


@rule(*(name.removeprefix("aten.") for name in _SEQUENCES))
def _sequence(c: Context, *args: Any, dtype: Any = None) -> Abstract:
    if c.result_axis is not None:
        return c.unknown()  # numbers the rows
    value = _SEQUENCES[c.op](*args, dtype=torch.float64)
    if tuple(value.shape) != c.result_shape:
        return c.unknown()
    out = _literal(c, value)
    whole = all(type(a) is int for a in args) and "linspace" not in c.op
    if whole and (c.result_dtype != "float" or max(map(abs, args), default=0) <= EXACT32):
        return out
    # Each element is found from the ends by a step, whose rounding is relative to the larger one.
    size = max((abs(float(a)) for a in args), default=0.0)
    if not 2 * size <= FLOAT32_MAX:
        return c.unknown()  # the distance between the ends overflows
    slack = torch.full(value.shape, size * 2.0**-21, dtype=torch.float64)
    off = torch.zeros(value.shape, dtype=torch.bool)
    return out.but(value=c.reading.widen(out.value, slack), whole=off)
