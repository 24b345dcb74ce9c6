"""Bound every intermediate of a credit graph before a real tensor of that size is made.

The rebuilt graph runs on tensors without data at three batch sizes: one row, some, and very many,
so that nothing which only fits some batches passes. Every dimension must come out as c0 + c1 * B;
the sizes follow as functions of B, and with them memory and work. Each result's size is looked at
before the next operation is asked for. Only then does it run on two rows of real zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sandbox.graph import Batch, CreditGraph, GraphError
from sandbox.ops import OPS
from sandbox.runtime import CreditFunction

MAX_ROW_ELEMENTS = 65_536
"""Elements of one intermediate for one row of the batch."""
MAX_FIXED_ELEMENTS = 1_048_576
"""Elements of an intermediate that does not grow with the batch."""
MAX_ROW_COST = 4_000_000
"""Floating-point operations of the whole graph for one row."""

_PROBES = (11, 1)
"""Batch sizes that determine c0 and c1."""
_MANY = 100_003
"""A batch size that must agree with them."""

Shape = tuple[Batch, ...]


@dataclass(frozen=True)
class Shapes:
    """Shapes and dtypes by value number and result; ``row_cost`` in floating-point operations."""

    shape: tuple[tuple[Shape, ...], ...]
    dtype: tuple[tuple[torch.dtype, ...], ...]
    row_cost: int


def infer_shapes(graph: CreditGraph) -> Shapes:
    """Shapes of every value as functions of the batch size B.

    Raises:
        GraphError: an operation does not accept its arguments, a size depends on values or is not
            linear in B, or a bound is exceeded.
    """
    function = CreditFunction(graph)
    runs = [_run(function, graph, batch) for batch in _PROBES]
    shapes: list[tuple[Shape, ...]] = []
    dtypes: list[tuple[torch.dtype, ...]] = []
    cost = 0
    for number in range(len(runs[0])):
        line = _line(graph, number)
        results = [_tensors(run[number]) for run in runs]
        if len({len(r) for r in results}) != 1:
            raise GraphError("the number of results depends on the batch size", "graph.batch", line)
        shapes.append(
            tuple(
                _linear([r[k].shape for r in results], function.value_name(number), line)
                for k in range(len(results[0]))
            )
        )
        dtypes.append(tuple(t.dtype for t in results[0]))
        for shape in shapes[-1]:
            cost += _bound(shape, number, graph, function, shapes, line)
    _confirm(_run(function, graph, _MANY), shapes, function, graph)
    for name, ref in graph.outputs.items():
        if ref.out >= len(shapes[ref.value]):
            raise GraphError(f"{name} refers to a result that does not exist")
    if cost > MAX_ROW_COST:
        raise GraphError(
            f"the function needs about {cost:,} operations for each state; the limit is "
            f"{MAX_ROW_COST:,}: use smaller intermediate tensors",
            "graph.cost",
        )
    _try_out(function, graph)
    return Shapes(tuple(shapes), tuple(dtypes), cost)


def _run(function: CreditFunction, graph: CreditGraph, batch: int) -> list[object]:
    """Every value without data, its size looked at as soon as it is there."""
    device, dtype = torch.device("meta"), torch.float32
    values = function.inputs(
        torch.empty(batch, graph.n_agents, device=device),
        torch.empty(batch, graph.state_dim, device=device),
    )
    most = max(MAX_FIXED_ELEMENTS, MAX_ROW_ELEMENTS * batch)
    for index in range(len(graph.operations)):
        number, line = len(values), graph.operations[index].line
        with _explained(function.value_name(number), batch, line):
            made = function.call(index, values, batch, device, dtype)
            for t in _tensors(made):
                if t.numel() > most:
                    raise _too_large(function.value_name(number), t.numel(), batch, line)
        values.append(made)
    return values


def _try_out(function: CreditFunction, graph: CreditGraph) -> None:
    """Two rows with data: some of what torch refuses, it refuses only then."""
    batch, device, dtype = 2, torch.device("cpu"), torch.float32
    values = function.inputs(
        torch.zeros(batch, graph.n_agents), torch.zeros(batch, graph.state_dim)
    )
    with torch.no_grad():
        for index in range(len(graph.operations)):
            name, line = function.value_name(len(values)), graph.operations[index].line
            with _explained(name, batch, line):
                values.append(function.call(index, values, batch, device, dtype))


@contextmanager
def _explained(name: str, batch: int, line: int | None) -> Iterator[None]:
    """Whatever torch raises about an operation as a GraphError."""
    try:
        yield
    except GraphError:
        raise
    except Exception as e:  # noqa: BLE001 - torch's argument handling raises what it likes
        first = str(e).strip().splitlines()[0][:300] if str(e).strip() else type(e).__name__
        raise GraphError(
            f"{name} refuses its arguments for a batch of {batch}: {first}", "graph.arguments", line
        ) from None


def _too_large(name: str, elements: int, batch: int, line: int | None) -> GraphError:
    return GraphError(
        f"{name}: a tensor of {elements:,} elements for a batch of {batch:,}; the limit is "
        f"{MAX_ROW_ELEMENTS:,} for each row of the batch. Work with [B, n_agents] or "
        "[B, n_agents, n_agents] tensors",
        "graph.size",
        line,
    )


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)) and all(isinstance(v, Tensor) for v in value):
        return list(value)
    raise GraphError("an operation's result is not a tensor")


def _linear(seen: list[torch.Size], name: str, line: int | None) -> Shape:
    if len({len(s) for s in seen}) != 1:
        raise GraphError(
            f"{name}: the number of dimensions depends on the batch", "graph.batch", line
        )
    dims = []
    for many, one in zip(*seen, strict=True):
        c1, left = divmod(many - one, _PROBES[0] - _PROBES[1])
        if left:
            raise _odd_growth(name, line)
        dims.append(Batch(one - c1 * _PROBES[1], c1))
    return tuple(dims)


def _odd_growth(name: str, line: int | None) -> GraphError:
    return GraphError(
        f"{name}: a dimension grows with the batch size in an odd way; treat every row alike",
        "graph.batch",
        line,
    )


def _confirm(
    values: list[object],
    shapes: list[tuple[Shape, ...]],
    function: CreditFunction,
    graph: CreditGraph,
) -> None:
    """Sizes found with small batches must hold for a large one."""
    for number, value in enumerate(values):
        expected = [tuple(d.at(_MANY) for d in shape) for shape in shapes[number]]
        if [tuple(t.shape) for t in _tensors(value)] != expected:
            raise _odd_growth(function.value_name(number), _line(graph, number))


def _bound(
    shape: Shape,
    number: int,
    graph: CreditGraph,
    function: CreditFunction,
    shapes: list[tuple[Shape, ...]],
    line: int | None,
) -> int:
    """Check one result's size; return its cost for one row."""
    growing = [d for d in shape if d.c1]
    name = function.value_name(number)
    if len(growing) > 1:
        raise GraphError(
            f"{name}: the result has the batch in {len(growing)} dimensions, so it compares rows "
            "with each other; every row of the batch is a different moment in time and must be "
            "treated on its own",
            "graph.batch_squared",
            line,
        )
    if growing and growing[0].c0:
        raise GraphError(
            f"{name}: a dimension is the batch size plus {growing[0].c0}; rows must stay rows",
            "graph.batch",
            line,
        )
    elements = math.prod(d.c1 or d.c0 for d in shape)
    limit = MAX_ROW_ELEMENTS if growing else MAX_FIXED_ELEMENTS
    if elements > limit:
        per = " for each row of the batch" if growing else ""
        raise GraphError(
            f"{name}: a tensor of {elements:,} elements{per}; the limit is {limit:,}. "
            "Work with [B, n_agents] or [B, n_agents, n_agents] tensors",
            "graph.size",
            line,
        )
    if number < graph.first_operation:
        return 0
    operation = graph.operations[number - graph.first_operation]
    cost = OPS[operation.op].cost * elements
    if OPS[operation.op].family in ("matmul", "reduction", "normalise"):
        # Every element read counts as well; for a product of matrices, every multiplication.
        operands = [a for a in operation.args if type(a).__name__ == "Ref"]
        inner = [shapes[r.value][r.out] for r in operands]
        if OPS[operation.op].family == "matmul":
            last = inner[0][-1] if len(inner) < 3 else inner[1][-1]
            cost = elements * max(1, last.c1 or last.c0) * 2
        else:
            cost += max((math.prod(d.c1 or d.c0 for d in s) for s in inner), default=0)
    return cost


def _line(graph: CreditGraph, number: int) -> int | None:
    at = number - graph.first_operation
    return graph.operations[at].line if at >= 0 else None
