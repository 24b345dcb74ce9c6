"""Are computed indices within their ranges? Those that are not shown to be are clamped when run."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.graph import CreditGraph, Operation, Ref
from sandbox.inference import Types
from sandbox.prover.domain import Abstract

_ALONG = {
    f"aten.{n}" for n in ("gather.default", "index_select.default", "scatter.src", "scatter.value")
} | {"aten.scatter_add.default"}
_LISTED = {"aten.index.Tensor", "aten.index_put.default"}


def loose_indices(
    graph: CreditGraph, types: Types, values: list[tuple[Abstract, ...]]
) -> tuple[bool, int | None]:
    """Whether there are computed indices at all, and the line of the first that may be outside.

    Returns:
        (False, None) without any; (True, None) where all are proved in bounds; else (True, line),
        with line 0 where the operation's line is not known.
    """
    any_at_all = False
    for operation in graph.operations:
        for index, lowest, size in _indices(operation, types):
            any_at_all = True
            abstract = values[index.value][index.out]
            low, high = abstract.value
            known = not abstract.is_unknown and not bool(abstract.bad.any())
            if not known or low.min() < lowest or high.max() > size - 1:
                return True, operation.line or 0
    return any_at_all, None


def _indices(operation: Operation, types: Types) -> Iterator[tuple[Ref, int, int]]:
    """An operation's computed indices, each with its smallest value and its dimension's size."""
    if operation.op in _ALONG:
        x, dim, index = operation.args[:3]
        yield index, 0, types.of(x).shape[dim]
    elif operation.op in _LISTED:
        x, listed = operation.args[:2]
        for size, index in zip(types.of(x).shape, listed, strict=False):
            if isinstance(index, Ref) and types.of(index).dtype != "bool":
                yield index, -size, size
