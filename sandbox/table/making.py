"""Operations that make tensors from sizes and numbers."""

from __future__ import annotations

import math

from sandbox.graph import Batch, GraphError
from sandbox.table.registry import Cast, End, Finite, Number, Sizes, Whole, operation
from sandbox.table.tensors import DType, TensorType, category, holds, mixes_rows, refuse

MAX_SEQUENCE = 65_536
"""Elements of a sequence of numbers."""
MAX_END = 2**31
"""Of such a sequence. Within it whole and real numbers count the same elements."""


def _made(sizes: tuple[int | Batch, ...], dtype: DType) -> TensorType:
    grown = [i for i, n in enumerate(sizes) if isinstance(n, Batch)]
    if len(grown) > 1:
        raise mixes_rows("a tensor with the batch in two dimensions")
    if any(type(n) is int and n < 0 for n in sizes):
        raise refuse("a negative size")
    shape = tuple(n.c1 if isinstance(n, Batch) else n for n in sizes)
    return TensorType(dtype, shape, grown[0] if grown else None)


def _filled(value: float, dtype: DType) -> DType:
    """The dtype of a tensor that is full of one number.

    Raises:
        GraphError: the dtype cannot hold the number.
    """
    if not holds(dtype, category(value)):
        raise refuse(f"a tensor of {dtype} full of {value}")
    return dtype


@operation("zeros.default ones.default", "create")
def _zeros(size: Sizes, *, dtype: Cast | None = None) -> TensorType:
    return _made(size, dtype or "float")


@operation("full.default", "create")
def _full(size: Sizes, fill_value: Number, *, dtype: Cast | None = None) -> TensorType:
    return _made(size, _filled(fill_value, dtype or "float"))


@operation("scalar_tensor.default", "create")
def _scalar(s: Number, *, dtype: Cast | None = None) -> TensorType:
    return TensorType(_filled(s, dtype or "float"), ())


@operation("zeros_like.default ones_like.default", "create")
def _like(self: TensorType, *, dtype: Cast | None = None) -> TensorType:
    return self.but(dtype)


@operation("full_like.default", "create")
def _full_like(self: TensorType, fill_value: Number, *, dtype: Cast | None = None) -> TensorType:
    return self.but(_filled(fill_value, dtype or self.dtype))


@operation("new_zeros.default new_ones.default", "create")
def _new(self: TensorType, size: Sizes, *, dtype: Cast | None = None) -> TensorType:
    return _made(size, dtype or self.dtype)


@operation("new_full.default", "create")
def _new_full(
    self: TensorType, size: Sizes, fill_value: Number, *, dtype: Cast | None = None
) -> TensorType:
    return _made(size, _filled(fill_value, dtype or self.dtype))


# ---- sequences -----------------------------------------------------------------------------------


def _sequence(start: object, end: object, step: object, dtype: DType | None) -> TensorType:
    if any(isinstance(x, Batch) for x in (start, end, step)):
        raise mixes_rows(
            "numbers of the rows (arange over the batch)",
            "to read a column chosen in each row use x.gather(1, index.unsqueeze(1))",
        )
    ends = (start, end, step)
    if not all(type(x) in (int, float) and math.isfinite(x) for x in ends):  # type: ignore[arg-type]
        raise refuse("a range needs finite numbers")
    low, high, by = (float(x) for x in ends)  # type: ignore[arg-type]
    if max(abs(low), abs(high), abs(by)) > MAX_END:
        raise GraphError(f"a range whose ends or step are beyond {MAX_END:,}", "graph.size")
    if not by or (high - low) / by < 0 or (high - low) / by > MAX_SEQUENCE:
        raise GraphError(
            f"a range from {low:g} to {high:g} by {by:g}; at most {MAX_SEQUENCE:,} numbers",
            "graph.size",
        )
    own: DType = "int64" if all(type(x) is int for x in ends) else "float"
    if dtype is not None and (dtype == "bool" or not holds(dtype, own)):
        raise refuse(f"a range of {own} numbers as {dtype}")
    return TensorType(dtype or own, (math.ceil((high - low) / by),))


@operation("arange.default", "create")
def _arange(end: End, *, dtype: Cast | None = None) -> TensorType:
    return _sequence(0, end, 1, dtype)


@operation("arange.start", "create")
def _arange_from(start: End, end: End, *, dtype: Cast | None = None) -> TensorType:
    return _sequence(start, end, 1, dtype)


@operation("arange.start_step", "create")
def _arange_by(start: End, end: End, step: End = 1, *, dtype: Cast | None = None) -> TensorType:
    return _sequence(start, end, step, dtype)


@operation("eye.default", "create")
def _eye(n: Whole, *, dtype: Cast | None = None) -> TensorType:
    return _made((n, n), dtype or "float")


@operation("eye.m", "create")
def _eye_m(n: Whole, m: Whole, *, dtype: Cast | None = None) -> TensorType:
    return _made((n, m), dtype or "float")


@operation("linspace.default", "create")
def _linspace(start: Finite, end: Finite, steps: Whole, *, dtype: Cast | None = None) -> TensorType:
    if dtype not in (None, "float"):
        raise refuse(f"linspace as {dtype}")
    if not 1 <= steps <= MAX_SEQUENCE:
        raise GraphError(f"linspace of {steps} numbers", "graph.size")
    return TensorType("float", (steps,))
