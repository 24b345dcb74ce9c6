"""Operations that read or write at computed places (which the runtime clamps into range)."""

from __future__ import annotations

from sandbox.graph import GraphError
from sandbox.table.folding import dimension
from sandbox.table.moving import not_the_batch
from sandbox.table.registry import Indices, Number, Whole, operation
from sandbox.table.tensors import (
    TensorType,
    broadcast,
    category,
    holds,
    mixes_rows,
    refuse,
    shown,
)

_GATHER = "to read a column chosen in each row use x.gather(1, index.unsqueeze(1))"


def _place(index: TensorType) -> TensorType:
    if index.dtype != "int64":
        raise refuse(f"an index of {index.dtype}: convert it with `.long()`")
    return index


@operation("index_select.default", "indexed")
def _index_select(self: TensorType, dim: Whole, index: TensorType) -> TensorType:
    at = not_the_batch(self, dim, "rows picked by their number")
    if len(_place(index).shape) != 1:
        raise refuse(f"index_select takes places in one dimension, not {shown(index)}")
    if self.axis is not None and index.axis is not None:
        raise mixes_rows("places of one row read in another", _GATHER)
    if not self.shape[at]:
        raise refuse("an index into a dimension without elements")
    axis = self.axis if index.axis is None else at
    return TensorType(self.dtype, (*self.shape[:at], *index.shape, *self.shape[at + 1 :]), axis)


def _same_rows(x: TensorType, index: TensorType, what: str) -> None:
    """Refuse places that are not those of the row they are applied to."""
    if x.axis != index.axis or (x.axis is not None and x.shape[x.axis] != index.shape[x.axis]):
        raise mixes_rows(
            f"{what} of {shown(x)} at places {shown(index)}",
            "expand the index to the batch: index.expand(state.shape[0], -1)",
        )


def _lined_up(x: TensorType, dim: int, index: TensorType, what: str) -> int:
    """The dimension along which gather and scatter work.

    Raises:
        GraphError: the shapes do not fit, or rows would meet.
    """
    at = dimension(dim, x)
    if len(_place(index).shape) != len(x.shape) or not x.shape:
        raise refuse(
            f"{what} of {shown(x)} at places {shown(index)}: as many dimensions are needed"
        )
    not_the_batch(x, dim, what)
    _same_rows(x, index, what)
    too_large = any(
        m > n for i, (n, m) in enumerate(zip(x.shape, index.shape, strict=True)) if i != at
    )
    if too_large or x.is_empty or index.is_empty:
        raise refuse(f"{what} of {shown(x)} at places {shown(index)}")
    return at


@operation("gather.default", "indexed")
def _gather(
    self: TensorType, dim: Whole, index: TensorType, *, sparse_grad: bool = False
) -> TensorType:
    if sparse_grad:
        raise refuse("sparse gradients")
    _lined_up(self, dim, index, "gather")
    return index.but(self.dtype)


@operation("scatter.src scatter_add.default", "indexed", cost=2)
def _scatter(self: TensorType, dim: Whole, index: TensorType, src: TensorType) -> TensorType:
    _lined_up(self, dim, index, "scatter")
    if src.dtype != self.dtype:
        raise refuse(f"{src.dtype} values scattered into a tensor of {self.dtype}")
    too_small = len(src.shape) != len(index.shape) or any(
        m > n for n, m in zip(src.shape, index.shape, strict=True)
    )
    if too_small:
        raise refuse(f"{shown(src)} scattered to places {shown(index)}")
    _same_rows(src, index, "scatter")
    return self


@operation("scatter.value", "indexed", cost=2)
def _scatter_value(self: TensorType, dim: Whole, index: TensorType, value: Number) -> TensorType:
    _lined_up(self, dim, index, "scatter")
    if not holds(self.dtype, category(value)):
        raise refuse(f"{value} scattered into a tensor of {self.dtype}")
    return self


# ---- x[i, j] -------------------------------------------------------------------------------------


def _indexed(x: TensorType, indices: tuple[TensorType | None, ...], what: str) -> TensorType:
    """The type of ``x[indices]``.

    The indices broadcast together. Their dimensions stand where they were, if they stood side by
    side, else in front (numpy's rule).
    """
    given = [(d, i) for d, i in enumerate(indices) if i is not None]
    if not given or len(indices) > len(x.shape):
        raise refuse(f"{len(indices)} indices into {shown(x)}")
    for at, index in given:
        if at == x.axis:
            raise mixes_rows(f"{what} rows by their number", _GATHER)
        if _place(index) and not x.shape[at]:
            raise refuse("an index into a dimension without elements")
    shape, axis = broadcast([i for _, i in given])
    if axis is not None and x.axis is not None:
        raise mixes_rows(f"{what} places of one row in another", _GATHER)
    places = [d for d, _ in given]
    adjacent = places == list(range(places[0], places[-1] + 1))
    kept = [d for d in range(len(x.shape)) if d not in places]
    front = [d for d in kept if adjacent and d < places[0]]
    back = [d for d in kept if d not in front]
    sizes = (*(x.shape[d] for d in front), *shape, *(x.shape[d] for d in back))
    if axis is not None:
        axis += len(front)
    elif x.axis is not None:
        axis = (
            front.index(x.axis) if x.axis in front else len(front) + len(shape) + back.index(x.axis)
        )
    return TensorType(x.dtype, sizes, axis)


@operation("index.Tensor", "indexed")
def _index(self: TensorType, indices: Indices) -> TensorType:
    if any(i is not None and i.dtype == "bool" for i in indices):
        raise GraphError(
            "reading with a boolean mask gives a result whose size depends on values; "
            "use torch.where(mask, x, other) instead",
            "graph.data_dependent",
        )
    return _indexed(self, indices, "reading")


@operation("index_put.default", "indexed", cost=2)
def _index_put(
    self: TensorType, indices: Indices, values: TensorType, accumulate: bool = False
) -> TensorType:
    if values.dtype != self.dtype:
        raise refuse(f"{values.dtype} values written into a tensor of {self.dtype}")
    if any(i is not None and i.dtype == "bool" for i in indices):
        return _masked_write(self, indices, values, accumulate)
    place = _indexed(self, indices, "writing")
    if place.axis is not None and self.axis is None:
        raise mixes_rows("rows written into a tensor that all rows share")
    if broadcast((values, place)) != (place.shape, place.axis):
        raise refuse(f"{shown(values)} written into places {shown(place)}")
    return self


_MASKED_WRITE = (
    "writing one value for each place where a mask holds depends on how many there are; use "
    "torch.where(mask, values, x) instead"
)


def _masked_write(
    x: TensorType, indices: tuple[TensorType | None, ...], values: TensorType, accumulate: bool
) -> TensorType:
    """``x[mask] = v``: how many elements a mask picks depends on values, so each gets the same."""
    mask = indices[0]
    if mask is None or len(indices) != 1 or accumulate:
        raise GraphError(_MASKED_WRITE, "graph.data_dependent")
    rest = len(x.shape) - len(mask.shape)
    leading = values.shape[: max(0, len(values.shape) - rest)]
    if any(n != 1 for n in leading) or values.axis is not None:
        raise GraphError(_MASKED_WRITE, "graph.data_dependent")
    inner = x.axis is not None and x.axis >= len(mask.shape)
    same = mask.shape == x.shape[: len(mask.shape)]
    if rest < 0 or not same or inner or mask.axis != x.axis:
        raise refuse(f"a mask {shown(mask)} for {shown(x)}: it must have the same shape")
    tail = values.but(shape=values.shape[len(leading) :])
    if broadcast((tail, x)) != (x.shape, x.axis) or len(tail.shape) > rest:
        raise refuse(f"{shown(values)} written into {shown(x)}")
    return x
