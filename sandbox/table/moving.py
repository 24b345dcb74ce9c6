"""Operations that move elements about and compute nothing.

One group of the table in one file above 400 lines, an operation after the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sandbox.graph import Batch, GraphError
from sandbox.table.folding import dimension, dimensions
from sandbox.table.registry import Number, Size, Sizes, Tensors, Whole, Wholes, operation
from sandbox.table.tensors import TensorType, category, holds, mixes_rows, promote, refuse, shown

MAX_PARTS = 64
"""Tensors that one operation may result in."""
MAX_RANK = 8


def _rank(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > MAX_RANK:
        raise refuse(f"a tensor of {len(shape)} dimensions; the limit is {MAX_RANK}")
    return shape


def not_the_batch(x: TensorType, dim: int, what: str) -> int:
    """A dimension counted from the front that is not the batch.

    Raises:
        GraphError: it is, or there is no such dimension.
    """
    at = dimension(dim, x)
    if not x.shape:
        raise refuse(f"{what} of a tensor without dimensions")
    if at == x.axis:
        raise mixes_rows(f"{what} along the batch")
    return at


# ---- shapes --------------------------------------------------------------------------------------


@operation("reshape.default", "structural")
def _reshape(self: TensorType, shape: Sizes) -> TensorType:
    x = self
    _rank(tuple(range(len(shape))))
    if any(type(n) is int and n < -1 for n in shape) or sum(n == -1 for n in shape) > 1:
        raise refuse(f"sizes {_sizes_shown(shape)}")
    free = next((i for i, n in enumerate(shape) if n == -1), None)
    grown = [i for i, n in enumerate(shape) if isinstance(n, Batch)]
    known = math.prod(n.c1 if isinstance(n, Batch) else n for i, n in enumerate(shape) if i != free)
    if free is not None and (not known or x.elements % known):
        raise _does_not_fit(x, shape)
    sizes = tuple(
        x.elements // known if i == free else n.c1 if isinstance(n, Batch) else n
        for i, n in enumerate(shape)
    )
    if math.prod(sizes) != x.elements:
        raise _does_not_fit(x, shape)
    if x.axis is None:
        if grown:
            raise _does_not_fit(x, shape)
        return x.but(shape=sizes)
    if len(grown) > 1 or (not grown and free is None):
        raise _does_not_fit(x, shape)
    axis = grown[0] if grown else free
    assert axis is not None
    if math.prod(sizes[:axis]) != math.prod(x.shape[: x.axis]) and not x.is_empty:
        raise mixes_rows(
            f"{shown(x)} reshaped to {_sizes_shown(shape)} interleaves the rows",
            "keep B the first dimension",
        )
    return TensorType(x.dtype, sizes, axis)


def _does_not_fit(x: TensorType, shape: Sequence[object]) -> GraphError:
    message = f"{shown(x)} does not reshape to {_sizes_shown(shape)}"
    if x.axis is not None and all(type(n) is int and n >= 0 for n in shape):
        return GraphError(f"{message} for any number of rows", "graph.batch")
    return refuse(message)


def _sizes_shown(shape: Sequence[object]) -> str:
    def one(n: object) -> str:
        if not isinstance(n, Batch):
            return str(n)
        return "B" if n.c1 == 1 else f"{n.c1}*B"

    return f"[{', '.join(map(one, shape))}]"


@operation("permute.default", "structural", is_view=True)
def _permute(self: TensorType, dims: Wholes) -> TensorType:
    order = [dimension(d, self) for d in dims]
    if sorted(order) != list(range(len(self.shape))):
        raise refuse(f"dimensions {list(dims)} of {shown(self)}")
    axis = None if self.axis is None else order.index(self.axis)
    return TensorType(self.dtype, tuple(self.shape[i] for i in order), axis)


@operation("transpose.int", "structural", is_view=True)
def _transpose(self: TensorType, dim0: Whole, dim1: Whole) -> TensorType:
    order = list(range(len(self.shape)))
    a, b = dimension(dim0, self), dimension(dim1, self)
    if order:
        order[a], order[b] = b, a
    return _permute(self, tuple(order))


@operation("t.default", "structural", is_view=True)
def _t(self: TensorType) -> TensorType:
    if len(self.shape) > 2:
        raise refuse(f"t of {shown(self)}: use transpose")
    return _permute(self, tuple(reversed(range(len(self.shape)))))


def _inserted(x: TensorType, dim: int, size: int) -> TensorType:
    rank = len(x.shape) + 1
    if not -rank <= dim < rank:
        raise refuse(f"a new dimension {dim} of {shown(x)}")
    at = dim % rank
    axis = None if x.axis is None else x.axis + (x.axis >= at)
    return TensorType(x.dtype, _rank((*x.shape[:at], size, *x.shape[at:])), axis)


@operation("unsqueeze.default", "structural", is_view=True)
def _unsqueeze(self: TensorType, dim: Whole) -> TensorType:
    return _inserted(self, dim, 1)


def _squeezed(x: TensorType, dims: list[int]) -> TensorType:
    if x.axis is not None and x.axis in dims:
        raise GraphError(
            "squeeze would drop the batch where it has one row; name the dimension: x.squeeze(-1)",
            "graph.batch",
        )
    kept = [i for i, n in enumerate(x.shape) if n != 1 or i not in dims]
    axis = None if x.axis is None else kept.index(x.axis)
    return TensorType(x.dtype, tuple(x.shape[i] for i in kept), axis)


@operation("squeeze.default", "structural", is_view=True)
def _squeeze(self: TensorType) -> TensorType:
    return _squeezed(self, list(range(len(self.shape))))


@operation("squeeze.dim", "structural", is_view=True)
def _squeeze_dim(self: TensorType, dim: Whole) -> TensorType:
    return _squeezed(self, [dimension(dim, self)])


@operation("squeeze.dims", "structural", is_view=True)
def _squeeze_dims(self: TensorType, dim: Wholes) -> TensorType:
    return _squeezed(self, dimensions(dim, self) if dim else [])


@operation("expand.default", "structural", is_view=True)
def _expand(self: TensorType, size: Sizes, *, implicit: bool = False) -> TensorType:
    new = len(size) - len(self.shape)
    if new < 0:
        raise refuse(f"{shown(self)} does not expand to {_sizes_shown(size)}")
    axis = None if self.axis is None else self.axis + new
    sizes = []
    for at, wanted in enumerate(_rank(size)):  # type: ignore[arg-type]
        own = self.shape[at - new] if at >= new else None
        if at == axis:
            if wanted not in (-1, Batch(0, self.shape[at - new])):
                raise _does_not_fit(self, size)
            sizes.append(self.shape[at - new])
        elif isinstance(wanted, Batch):
            if own not in (None, 1) or axis is not None:
                raise mixes_rows(f"{shown(self)} expanded to {_sizes_shown(size)}")
            axis = at
            sizes.append(wanted.c1)
        elif wanted == -1 and own is not None:
            sizes.append(own)
        elif wanted >= 0 and own in (None, 1, wanted):
            sizes.append(wanted)
        else:
            raise refuse(f"{shown(self)} does not expand to {_sizes_shown(size)}")
    return TensorType(self.dtype, tuple(sizes), axis)


@operation("repeat.default", "structural")
def _repeat(self: TensorType, repeats: Sizes) -> TensorType:
    new = len(repeats) - len(self.shape)
    if new < 0 or any(type(n) is int and n < 0 for n in repeats):
        raise refuse(f"{shown(self)} repeated {_sizes_shown(repeats)} times")
    axis = None if self.axis is None else self.axis + new
    sizes = []
    for at, times in enumerate(_rank(repeats)):  # type: ignore[arg-type]
        own = self.shape[at - new] if at >= new else 1
        if at == axis and times != 1:
            raise mixes_rows(f"{shown(self)} repeated along the batch")
        if isinstance(times, Batch):
            if own != 1 or axis is not None:
                raise mixes_rows(f"{shown(self)} repeated {_sizes_shown(repeats)} times")
            axis = at
        sizes.append(own * (times.c1 if isinstance(times, Batch) else times))
    return TensorType(self.dtype, tuple(sizes), axis)


# ---- parts ---------------------------------------------------------------------------------------


def _without(x: TensorType, at: int) -> TensorType:
    axis = x.axis if x.axis is None or x.axis < at else x.axis - 1
    return TensorType(x.dtype, x.shape[:at] + x.shape[at + 1 :], axis)


def _resized(x: TensorType, at: int, size: int) -> TensorType:
    return x.but(shape=(*x.shape[:at], size, *x.shape[at + 1 :]))


@operation("select.int", "structural", is_view=True)
def _select(self: TensorType, dim: Whole, index: Whole) -> TensorType:
    at = not_the_batch(self, dim, "one row picked")
    size = self.shape[at]
    if not -size <= index < size:
        raise refuse(f"index {index} of dimension {at} of {shown(self)}, which has {size} elements")
    return _without(self, at)


def _sliced(
    x: TensorType, dim: int, start: object, end: object, step: int
) -> tuple[int, int | None]:
    """The dimension of a slice and how many elements it has; None for the whole batch."""
    at = dimension(dim, x)
    if not x.shape or step < 1:
        raise refuse(f"a slice of {shown(x)} with step {step}")
    if at == x.axis:
        whole = end is None or end == Batch(0, x.shape[at]) or (type(end) is int and end >= 1 << 40)
        if start in (None, 0) and whole and step == 1:
            return at, None
        raise mixes_rows("rows of the batch picked by their number")
    if isinstance(start, Batch) or isinstance(end, Batch):
        raise mixes_rows("a slice whose length follows the number of rows")
    size = x.shape[at]
    return at, len(range(*slice(start, end, step).indices(size)))


@operation("slice.Tensor", "structural", is_view=True)
def _slice(
    self: TensorType,
    dim: Whole = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: Whole = 1,
) -> TensorType:
    at, count = _sliced(self, dim, start, end, step)
    return self if count is None else _resized(self, at, count)


def _parts(x: TensorType, at: int, sizes: Sequence[int]) -> tuple[TensorType, ...]:
    if not 1 <= len(sizes) <= MAX_PARTS:
        raise GraphError(f"a tensor in {len(sizes)} parts; the limit is {MAX_PARTS}", "graph.size")
    return tuple(_resized(x, at, n) for n in sizes)


@operation("split.Tensor", "structural", is_view=True)
def _split(self: TensorType, split_size: Whole, dim: Whole = 0) -> tuple[TensorType, ...]:
    at = not_the_batch(self, dim, "a split")
    size = self.shape[at]
    if split_size < 1 or not size:
        raise refuse(f"a split of {shown(self)} into parts of {split_size}")
    if size > split_size * MAX_PARTS:
        return _parts(self, at, [0] * (MAX_PARTS + 1))
    return _parts(self, at, [min(split_size, size - k) for k in range(0, size, split_size)])


@operation("split_with_sizes.default", "structural", is_view=True)
def _split_with_sizes(
    self: TensorType, split_sizes: Wholes, dim: Whole = 0
) -> tuple[TensorType, ...]:
    at = not_the_batch(self, dim, "a split")
    if any(n < 0 for n in split_sizes) or sum(split_sizes) != self.shape[at]:
        raise refuse(f"a split of {shown(self)} into {list(split_sizes)} along dimension {at}")
    return _parts(self, at, split_sizes)


@operation("unbind.int", "structural", is_view=True)
def _unbind(self: TensorType, dim: Whole = 0) -> tuple[TensorType, ...]:
    at = not_the_batch(self, dim, "unbind")
    _parts(self, at, [1] * min(self.shape[at], MAX_PARTS + 1))
    return (_without(self, at),) * self.shape[at]


# ---- joining and rearranging ---------------------------------------------------------------------


@operation("cat.default", "structural")
def _cat(tensors: Tensors, dim: Whole = 0) -> TensorType:
    first = tensors[0]
    at = not_the_batch(first, dim, "joining")
    for x in tensors[1:]:
        alike = len(x.shape) == len(first.shape) and x.axis == first.axis
        if not alike or _resized(x, at, 0).shape != _resized(first, at, 0).shape:
            raise refuse(f"{shown(first)} and {shown(x)} do not join along dimension {at}")
    total = sum(x.shape[at] for x in tensors)
    return _resized(first, at, total).but(promote(*(x.dtype for x in tensors)))


@operation("stack.default", "structural")
def _stack(tensors: Tensors, dim: Whole = 0) -> TensorType:
    first = tensors[0]
    for x in tensors[1:]:
        if (x.shape, x.axis) != (first.shape, first.axis):
            raise refuse(f"{shown(first)} and {shown(x)} do not stack: their shapes differ")
    return _inserted(first, dim, len(tensors)).but(promote(*(x.dtype for x in tensors)))


@operation("flip.default", "structural")
def _flip(self: TensorType, dims: Wholes) -> TensorType:
    if len({not_the_batch(self, d, "flip") for d in dims}) < len(dims):
        raise refuse(f"a dimension of {shown(self)} is named twice")
    return self


@operation("roll.default", "structural")
def _roll(self: TensorType, shifts: Wholes, dims: Wholes = ()) -> TensorType:
    if not dims and self.axis is not None:
        raise mixes_rows("roll without dims runs over the batch")
    if len(shifts) != (len(dims) or 1) or self.is_empty:
        raise refuse(f"roll by {list(shifts)} along {list(dims)} of {shown(self)}")
    for d in dims:
        not_the_batch(self, d, "roll")
    return self


def _matrix(x: TensorType, what: str) -> TensorType:
    if len(x.shape) < 2:
        raise refuse(f"{what} of {shown(x)}, which is no matrix")
    if x.axis is not None and x.axis >= len(x.shape) - 2:
        raise mixes_rows(f"{what} along the batch")
    return x


@operation("tril.default triu.default", "structural")
def _triangle(self: TensorType, diagonal: Whole = 0) -> TensorType:
    return _matrix(self, "a triangle")


@operation("diagonal.default", "structural", is_view=True)
def _diagonal(self: TensorType, offset: Whole = 0, dim1: Whole = 0, dim2: Whole = 1) -> TensorType:
    a = not_the_batch(self, dim1, "a diagonal")
    b = not_the_batch(self, dim2, "a diagonal")
    if a == b:
        raise refuse("a diagonal of one dimension")
    rows, columns = self.shape[a], self.shape[b]
    size = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    left = _without(_without(self, max(a, b)), min(a, b))
    return _inserted(left, len(left.shape), size)


@operation("diag_embed.default", "structural")
def _diag_embed(
    self: TensorType, offset: Whole = 0, dim1: Whole = -2, dim2: Whole = -1
) -> TensorType:
    rank = len(self.shape) + 1
    if not self.shape or not all(-rank <= d < rank for d in (dim1, dim2)):
        raise refuse(f"diag_embed of {shown(self)} into dimensions {dim1} and {dim2}")
    a, b = sorted((dim1 % rank, dim2 % rank))
    last = not_the_batch(self, -1, "diag_embed")
    if a == b:
        raise refuse("diag_embed into one dimension")
    size = self.shape[last] + abs(offset)
    return _inserted(_inserted(_without(self, last), a, size), b, size)


@operation("constant_pad_nd.default", "structural")
def _pad(self: TensorType, pad: Wholes, value: Number = 0) -> TensorType:
    if len(pad) % 2 or len(pad) > 2 * len(self.shape) or any(p < 0 for p in pad):
        raise refuse(f"padding {list(pad)} of {shown(self)}")
    if not holds(self.dtype, category(value)):
        raise refuse(f"padding a tensor of {self.dtype} with {value}")
    sizes = list(self.shape)
    for k, amount in enumerate(pad):
        at = len(sizes) - 1 - k // 2
        if amount:
            not_the_batch(self, at, "padding")
        sizes[at] += amount
    return self.but(shape=tuple(sizes))


# ---- writing at fixed places ---------------------------------------------------------------------


def _written(x: TensorType, src: TensorType, place: TensorType) -> TensorType:
    """``x`` with ``src`` written where ``place`` is the type of what is overwritten."""
    if (src.shape, src.axis) != (place.shape, place.axis):
        raise refuse(f"{shown(src)} written into a place of {shown(place)}")
    if not holds(x.dtype, src.dtype):
        raise refuse(f"{src.dtype} values written into a tensor of {x.dtype}: convert them before")
    return x


@operation("select_scatter.default", "structural")
def _select_scatter(self: TensorType, src: TensorType, dim: Whole, index: Whole) -> TensorType:
    place = _select(self, dim, index)
    return _written(self, src, place)


@operation("slice_scatter.default", "structural")
def _slice_scatter(
    self: TensorType,
    src: TensorType,
    dim: Whole = 0,
    start: Size | None = None,
    end: Size | None = None,
    step: Whole = 1,
) -> TensorType:
    return _written(self, src, _slice(self, dim, start, end, step))
