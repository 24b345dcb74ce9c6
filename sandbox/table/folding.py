"""Operations that fold dimensions, or work along one and keep it."""

from __future__ import annotations

import math

from sandbox.table.registry import Cast, Finite, Number, Whole, Wholes, operation
from sandbox.table.tensors import DType, TensorType, holds, mixes_rows, refuse, shown

_FIXED = (
    "use dim=1 to stay within a row, or a fixed number from the ranges of the state's columns in "
    "place of a statistic of the batch"
)


def dimension(dim: int, x: TensorType) -> int:
    """A dimension counted from the front.

    Raises:
        GraphError: there is no such dimension.
    """
    rank = max(1, len(x.shape))
    if not -rank <= dim < rank:
        raise refuse(f"dim={dim} of {shown(x)}, which has {len(x.shape)} dimensions")
    return dim % rank


def dimensions(dims: tuple[int, ...] | None, x: TensorType) -> list[int]:
    """Dimensions counted from the front, each once; all of them where none is named."""
    if not dims:
        return list(range(len(x.shape)))
    found = [dimension(d, x) for d in dims]
    if len(set(found)) < len(found):
        raise refuse(f"a dimension of {shown(x)} is named twice")
    return found


def within_a_row(x: TensorType, dims: list[int], what: str) -> None:
    """Refuse an operation along the batch."""
    if x.axis is not None and x.axis in dims:
        raise mixes_rows(f"{what} over the batch", _FIXED)


def folded(
    x: TensorType, dims: list[int], keepdim: bool, what: str, *, empty: bool = False
) -> TensorType:
    """``x`` without some dimensions (or with size 1 there), none of which is the batch.

    Args:
        empty: whether there is a result where no element is folded.
    """
    within_a_row(x, dims, what)
    if not x.shape:
        return x
    if not empty and x.is_empty:
        raise refuse(f"{what} over no elements: {shown(x)}")
    if keepdim:
        return x.but(shape=tuple(1 if i in dims else n for i, n in enumerate(x.shape)))
    kept = [i for i in range(len(x.shape)) if i not in dims]
    axis = None if x.axis is None else kept.index(x.axis)
    return TensorType(x.dtype, tuple(x.shape[i] for i in kept), axis)


def _counted(x: TensorType, dtype: DType | None, what: str) -> DType:
    """The dtype of a sum or product: whole numbers stay whole unless asked otherwise."""
    own: DType = "float" if x.dtype == "float" else "int64"
    if dtype is None:
        return own
    if not holds(dtype, own):
        raise refuse(f"{what} of {x.dtype} values as {dtype}: leave dtype out, or convert before")
    return dtype


@operation("sum.default", "reduction")
def _sum_all(self: TensorType, *, dtype: Cast | None = None) -> TensorType:
    return _sum(self, None, dtype=dtype)


@operation("sum.dim_IntList", "reduction")
def _sum(
    self: TensorType, dim: Wholes | None, keepdim: bool = False, *, dtype: Cast | None = None
) -> TensorType:
    out = folded(self, dimensions(dim, self), keepdim, "a sum", empty=True)
    return out.but(_counted(self, dtype, "a sum"))


@operation("mean.default", "reduction")
def _mean_all(self: TensorType, *, dtype: Cast | None = None) -> TensorType:
    return _mean(self, None, dtype=dtype)


@operation("mean.dim", "reduction")
def _mean(
    self: TensorType, dim: Wholes | None, keepdim: bool = False, *, dtype: Cast | None = None
) -> TensorType:
    out = folded(self, dimensions(dim, self), keepdim, "a mean")
    if (dtype or self.dtype) != "float":
        raise refuse("a mean of whole numbers or conditions: use `.float()` first")
    return out.but("float")


@operation("amax.default amin.default", "reduction")
def _extreme(self: TensorType, dim: Wholes = (), keepdim: bool = False) -> TensorType:
    return folded(self, dimensions(dim, self), keepdim, "a maximum or minimum")


@operation("max.default min.default", "reduction")
def _extreme_of_all(self: TensorType) -> TensorType:
    return folded(self, dimensions(None, self), False, "a maximum or minimum")


@operation("max.dim min.dim", "reduction")
def _extreme_with_place(
    self: TensorType, dim: Whole, keepdim: bool = False
) -> tuple[TensorType, TensorType]:
    out = folded(self, [dimension(dim, self)], keepdim, "a maximum or minimum")
    return out, out.but("int64")


@operation("median.dim", "reduction")
def _median(self: TensorType, dim: Whole, keepdim: bool = False) -> tuple[TensorType, TensorType]:
    _ordered(self, "a median")
    out = folded(self, [dimension(dim, self)], keepdim, "a median")
    return out, out.but("int64")


@operation("argmax.default argmin.default", "reduction")
def _place_of_extreme(
    self: TensorType, dim: Whole | None = None, keepdim: bool = False
) -> TensorType:
    _ordered(self, "argmax or argmin")
    dims = dimensions(None, self) if dim is None else [dimension(dim, self)]
    return folded(self, dims, keepdim, "argmax or argmin").but("int64")


def _ordered(x: TensorType, what: str) -> None:
    if x.dtype == "bool":
        raise refuse(f"{what} of conditions (bool): use `.float()` first")


@operation("prod.default", "reduction")
def _prod_all(self: TensorType, *, dtype: Cast | None = None) -> TensorType:
    out = folded(self, dimensions(None, self), False, "a product")
    return out.but(_counted(self, dtype, "a product"))


@operation("prod.dim_int", "reduction")
def _prod(
    self: TensorType, dim: Whole, keepdim: bool = False, *, dtype: Cast | None = None
) -> TensorType:
    out = folded(self, [dimension(dim, self)], keepdim, "a product")
    return out.but(_counted(self, dtype, "a product"))


@operation("any.default all.default", "reduction")
def _truth_of_all(self: TensorType) -> TensorType:
    return folded(self, dimensions(None, self), False, "any or all", empty=True).but("bool")


@operation("any.dim all.dim", "reduction")
def _truth_along(self: TensorType, dim: Whole, keepdim: bool = False) -> TensorType:
    return folded(self, [dimension(dim, self)], keepdim, "any or all", empty=True).but("bool")


@operation("any.dims all.dims", "reduction")
def _truth(self: TensorType, dim: Wholes | None = None, keepdim: bool = False) -> TensorType:
    if dim == ():
        raise refuse("any or all over an empty list of dimensions")
    return folded(self, dimensions(dim, self), keepdim, "any or all", empty=True).but("bool")


def _float_only(x: TensorType, what: str) -> TensorType:
    if x.dtype != "float":
        raise refuse(f"{what} of {x.dtype} values: use `.float()` first")
    return x


@operation("logsumexp.default", "reduction", cost=8)
def _logsumexp(self: TensorType, dim: Wholes, keepdim: bool = False) -> TensorType:
    if not dim:
        raise refuse("logsumexp over an empty list of dimensions")
    return folded(_float_only(self, "logsumexp"), dimensions(dim, self), keepdim, "logsumexp")


def _normed(x: TensorType, order: float | None, dims: list[int], keepdim: bool) -> TensorType:
    if order not in (None, 1, 2, math.inf):
        raise refuse(
            f"a norm of order {order:g}: use order 1, 2 or infinity, or write it out, such as "
            "`(x != 0).float().sum(dim=1)` for order 0, `x.abs().amin(dim=1)` for minus infinity, "
            "and `(x.abs() + 1e-6).pow(3).sum(dim=1).pow(1 / 3)` for order 3"
        )
    return folded(_float_only(x, "a norm"), dims, keepdim, "a norm")


@operation("linalg_vector_norm.default", "reduction")
def _vector_norm(
    self: TensorType,
    ord: Number = 2,  # noqa: A002 - ATen's name
    dim: Wholes | None = None,
    keepdim: bool = False,
    *,
    dtype: Cast | None = None,
) -> TensorType:
    if dtype not in (None, "float"):
        raise refuse(f"a norm as {dtype}")
    return _normed(self, ord, dimensions(dim, self), keepdim)


@operation("norm.ScalarOpt_dim", "reduction")
def _norm(self: TensorType, p: Number | None, dim: Wholes, keepdim: bool = False) -> TensorType:
    return _normed(self, p, dimensions(dim, self), keepdim)


@operation("norm.Scalar", "reduction")
def _norm_of_all(self: TensorType, p: Number = 2) -> TensorType:
    return _normed(self, p, dimensions(None, self), False)


@operation("var.correction std.correction", "reduction", cost=4)
def _variance(
    self: TensorType,
    dim: Wholes | None = None,
    *,
    correction: Finite | None = None,
    keepdim: bool = False,
) -> TensorType:
    what = "a standard deviation or variance"
    dims = dimensions(dim, self)
    out = folded(_float_only(self, what), dims, keepdim, what)
    count = math.prod(self.shape[d] for d in dims) if self.shape else 1
    if count <= (1 if correction is None else correction):
        raise refuse(f"{what} of {count} values with correction {correction or 1:g} has no result")
    return out


# ---- along one dimension -------------------------------------------------------------------------


def _along(x: TensorType, dim: int, what: str) -> TensorType:
    within_a_row(x, [dimension(dim, x)], what)
    if x.is_empty:
        raise refuse(f"{what} over no elements: {shown(x)}")
    return x


@operation("_softmax.default _log_softmax.default", "normalise", cost=16)
def _softmax(self: TensorType, dim: Whole, half_to_float: bool) -> TensorType:
    if half_to_float:
        raise refuse("half_to_float, for a type that there is not")
    return _along(_float_only(self, "softmax"), dim, "softmax")


@operation("cumsum.default cumprod.default", "normalise")
def _cumulated(self: TensorType, dim: Whole, *, dtype: Cast | None = None) -> TensorType:
    out = _along(self, dim, "a running sum or product")
    return out.but(_counted(self, dtype, "a running sum or product"))


@operation("sort.default", "normalise", cost=32)
def _sort(
    self: TensorType, dim: Whole = -1, descending: bool = False
) -> tuple[TensorType, TensorType]:
    out = _along(self, dim, "sorting")
    _ordered(self, "sorting")
    return out, out.but("int64")


@operation("sort.stable", "normalise", cost=32)
def _stable_sort(
    self: TensorType, *, stable: bool | None, dim: Whole = -1, descending: bool = False
) -> tuple[TensorType, TensorType]:
    return _sort(self, dim, descending)


@operation("topk.default", "normalise", cost=32)
def _topk(
    self: TensorType,
    k: Whole,
    dim: Whole = -1,
    largest: bool = True,
    sorted: bool = True,  # noqa: A002
) -> tuple[TensorType, TensorType]:
    at = dimension(dim, self)
    _along(self, dim, "topk")
    _ordered(self, "topk")
    if not self.shape or not 1 <= k <= self.shape[at]:
        raise refuse(f"topk of {k} along dimension {at} of {shown(self)}")
    out = self.but(shape=tuple(k if i == at else n for i, n in enumerate(self.shape)))
    return out, out.but("int64")


@operation("native_layer_norm.default", "normalise", cost=8)
def _layer_norm(
    self: TensorType,
    normalized_shape: Wholes,
    weight: TensorType | None,
    bias: TensorType | None,
    eps: Finite,
) -> tuple[TensorType, TensorType, TensorType]:
    x, count = self, len(normalized_shape)
    dims = list(range(len(x.shape) - count, len(x.shape)))
    if not 0 < count <= len(x.shape) or x.shape[-count:] != normalized_shape or x.is_empty:
        raise refuse(f"layer_norm over {list(normalized_shape)} of {shown(x)}")
    within_a_row(x, dims, "layer_norm")
    _float_only(x, "layer_norm")
    for part in (weight, bias):
        if part is not None and part != TensorType("float", normalized_shape):
            raise refuse("layer_norm's weight and bias must have the normalised shape")
    if eps <= 0:
        raise refuse("layer_norm's eps must be above zero")
    mean = folded(x, dims, True, "layer_norm")
    return x, mean, mean
