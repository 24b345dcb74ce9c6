"""Static types of tensors in a credit graph: dtype, shape for one row, and where the batch is.

Rows of the batch are independent by these types. A tensor with a batch axis holds, at row b of that
axis, numbers that follow from row b of the inputs alone; a tensor without one holds constants.
Every rule of the table keeps that invariant or refuses its operation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from sandbox.graph import GraphError

DType = Literal["float", "int64", "bool"]
BYTES: dict[str, int] = {"float": 4, "int64": 8, "bool": 1}
_RANK = {"bool": 0, "int64": 1, "float": 2}


class TensorType(NamedTuple):
    """A tensor's dtype and shape, before any number is known."""

    dtype: DType
    shape: tuple[int, ...]
    """Sizes for a batch of one row: the batch axis holds c for a size of c * B."""
    axis: int | None = None
    """The dimension that grows with the batch. Index k of it belongs to row k // c."""

    @property
    def elements(self) -> int:
        """Elements for one row of the batch; all of them where there is no batch axis."""
        return math.prod(self.shape)

    @property
    def is_empty(self) -> bool:
        """Whether some dimension has no elements."""
        return 0 in self.shape

    def but(self, dtype: DType | None = None, shape: tuple[int, ...] | None = None) -> TensorType:
        """The same with another dtype or shape, the batch where it was."""
        return TensorType(
            self.dtype if dtype is None else dtype,
            self.shape if shape is None else shape,
            self.axis,
        )


def shown(x: TensorType) -> str:
    """A type as messages write it: ``[B, 2, 3]``."""
    sizes = [str(n) if i != x.axis else "B" if n == 1 else f"{n}*B" for i, n in enumerate(x.shape)]
    return f"[{', '.join(sizes)}]"


def refuse(message: str) -> GraphError:
    """Arguments that the operation does not take."""
    return GraphError(message, "graph.arguments")


ROWS = "other rows of the same batch are other moments"
_WITHIN = (
    "work within a row (dim=1 is its columns or agents), or use a fixed number from the ranges"
)


def mixes_rows(what: str, remedy: str = _WITHIN) -> GraphError:
    """An operation after which a row would depend on other rows, on its number or on how many."""
    return GraphError(f"{what}: {ROWS}; {remedy}", "graph.batch")


def category(number: float) -> DType:
    """The dtype that a plain number counts as."""
    if type(number) is bool:
        return "bool"
    return "int64" if type(number) is int else "float"


def promote(*dtypes: DType) -> DType:
    """The dtype of a result of mixed operands: the highest of bool, int64, float."""
    return max(dtypes, key=_RANK.__getitem__)


def holds(dtype: DType, other: DType) -> bool:
    """Whether ``dtype`` holds what ``other`` holds, or more."""
    return _RANK[dtype] >= _RANK[other]


def broadcast(operands: Sequence[TensorType]) -> tuple[tuple[int, ...], int | None]:
    """Common shape and batch axis of operands that are aligned from the right.

    Raises:
        GraphError: the sizes do not fit, or rows would meet other rows.
    """
    rank = max((len(x.shape) for x in operands), default=0)
    axes = {rank - len(x.shape) + x.axis for x in operands if x.axis is not None}
    if len(axes) > 1:
        raise GraphError(
            f"{_listed(operands)} meet with the batch in two dimensions, which compares rows with "
            f"each other: {ROWS}; line them up with unsqueeze so that B stands in one place",
            "graph.batch_squared",
        )
    axis = axes.pop() if axes else None
    sizes = []
    for at in range(rank):
        own = [
            (x.shape[at - rank + len(x.shape)], x.axis is not None)
            for x in operands
            if at >= rank - len(x.shape)
        ]
        if at == axis:
            sizes.append(_batch_size(operands, at, rank))
            continue
        wide = {n for n, _ in own if n != 1}
        if len(wide) > 1:
            raise refuse(f"{_listed(operands)} do not fit together")
        sizes.append(wide.pop() if wide else 1)
    return tuple(sizes), axis


def _batch_size(operands: Sequence[TensorType], at: int, rank: int) -> int:
    """The multiple of the batch at an aligned dimension; operands without batch must be 1 there."""
    multiples = set()
    for x in operands:
        own = at - rank + len(x.shape)
        if own < 0:
            continue
        if x.axis == own:
            multiples.add(x.shape[own])
        elif x.shape[own] != 1:
            raise GraphError(
                f"{_listed(operands)}: {x.shape[own]} meets the batch, which has any number of "
                "rows",
                "graph.batch",
            )
    if len(multiples) > 1:
        raise refuse(f"{_listed(operands)} do not fit together")
    return multiples.pop()


def _listed(operands: Iterable[TensorType]) -> str:
    return " and ".join(dict.fromkeys(map(shown, operands)))
