"""Products of matrices."""

from __future__ import annotations

from sandbox.table.registry import Finite, operation
from sandbox.table.tensors import TensorType, broadcast, mixes_rows, refuse, shown


def _floats(*operands: TensorType) -> None:
    for x in operands:
        if x.dtype != "float":
            raise refuse(f"a product of matrices of {x.dtype}: use `.float()` first")


def product(a: TensorType, b: TensorType, rank_a: int, rank_b: int) -> TensorType:
    """[..., n, k] times [..., k, m], or times [k].

    Raises:
        GraphError: the shapes do not fit, or the sum runs over the batch.
    """
    _floats(a, b)
    if len(a.shape) != rank_a or len(b.shape) != rank_b or a.is_empty or b.is_empty:
        raise refuse(f"a product of {shown(a)} and {shown(b)}")
    inner = max(0, rank_b - 2)
    if a.axis == rank_a - 1 or b.axis == inner:
        raise mixes_rows("a product of matrices sums over the batch")
    if a.shape[-1] != b.shape[inner] or (rank_a == 3 and a.shape[0] != b.shape[0]):
        raise refuse(f"a product of {shown(a)} and {shown(b)}, whose sizes do not fit")
    if rank_a == 3 and (a.axis == 0) != (b.axis == 0):
        raise refuse(f"a product of {shown(a)} and {shown(b)}: expand both to the batch")
    columns = b.shape[-1:] if rank_b > 1 else ()
    shape = (*a.shape[:-1], *columns)
    axes = {a.axis} if a.axis is not None else set()
    if b.axis is not None:
        axes.add(b.axis if b.axis == 0 and rank_b == 3 else len(shape) - 1)
    if len(axes) > 1:
        raise mixes_rows(f"a product of {shown(a)} and {shown(b)} compares rows with each other")
    return TensorType("float", shape, axes.pop() if axes else None)


@operation("mm.default", "matmul")
def _mm(self: TensorType, mat2: TensorType) -> TensorType:
    return product(self, mat2, 2, 2)


@operation("bmm.default", "matmul")
def _bmm(self: TensorType, mat2: TensorType) -> TensorType:
    return product(self, mat2, 3, 3)


@operation("mv.default", "matmul")
def _mv(self: TensorType, vec: TensorType) -> TensorType:
    return product(self, vec, 2, 1)


@operation("dot.default", "matmul")
def _dot(self: TensorType, tensor: TensorType) -> TensorType:
    return product(self, tensor, 1, 1)


def _added(bias: TensorType, made: TensorType) -> TensorType:
    _floats(bias)
    if broadcast((bias, made)) != (made.shape, made.axis):
        raise refuse(f"{shown(bias)} added to a product {shown(made)}")
    return made


@operation("addmm.default", "matmul")
def _addmm(
    self: TensorType, mat1: TensorType, mat2: TensorType, *, beta: Finite = 1, alpha: Finite = 1
) -> TensorType:
    return _added(self, product(mat1, mat2, 2, 2))


@operation("baddbmm.default", "matmul")
def _baddbmm(
    self: TensorType, batch1: TensorType, batch2: TensorType, *, beta: Finite = 1, alpha: Finite = 1
) -> TensorType:
    return _added(self, product(batch1, batch2, 3, 3))
