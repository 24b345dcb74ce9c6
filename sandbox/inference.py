"""Types of every value of a credit graph, and bounds on its memory and work, before any number.

Sizes are known for a batch of any number of rows, rows are independent by type
(:mod:`sandbox.table.tensors`), and each result's size is looked at before the next operation.
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.graph import FIRST_CONSTANT, CreditGraph, GraphError, Operation, Ref, refs_of
from sandbox.table import OPS, TensorType
from sandbox.table.tensors import BYTES, shown

MAX_ROW_ELEMENTS = 65_536
"""Elements of one intermediate for one row of the batch."""
MAX_FIXED_ELEMENTS = 1_048_576
"""Elements of an intermediate that does not grow with the batch."""
MAX_ROW_COST = 4_000_000
"""Floating-point operations of the whole graph for one row."""
MAX_FIXED_BYTES = 64 << 20
"""Memory of all intermediates that do not grow with the batch."""

MAX_DIMENSIONS = 16
"""Of a tensor; what a function needs has about five."""

_TEMPORARIES = {
    "prod": 6, "cumprod": 7, "logsumexp": 3, "amax": 2, "amin": 2, "max": 2, "min": 2, "std": 2,
    "var": 2, "norm": 2, "linalg_vector_norm": 2, "median": 2, "sort": 2, "topk": 2,
    "native_layer_norm": 2,
}  # fmt: skip
"""Copies of the operand that forward and backward kernels make beside results and gradients, by
the name of the operation; measured and rounded up."""

_TOUCHES_OPERANDS = ("matmul", "reduction", "normalise")


@dataclass(frozen=True)
class Types:
    """What is known of a graph without running it."""

    values: tuple[tuple[TensorType, ...], ...]
    """By value number and result."""
    row_cost: int
    """Floating-point operations for one row."""
    row_bytes: int
    """Memory that training needs for one row of a batch, at most: every intermediate with its
    gradient, float32."""
    fixed_bytes: int
    """Memory of what does not grow with the batch."""

    def of(self, ref: Ref) -> TensorType:
        """The type of a value.

        Raises:
            GraphError: the operation has no such result.
        """
        results = self.values[ref.value]
        if ref.out >= len(results):
            raise GraphError("it refers to a result that does not exist")
        return results[ref.out]


def infer_types(graph: CreditGraph) -> Types:
    """Types of every value as functions of the batch size.

    Raises:
        GraphError: an operation does not take its arguments, rows would depend on each other, or a
            bound is exceeded. The message names operation and line.
    """
    walk = _Walk(graph)
    for number, operation in enumerate(graph.operations, graph.first_operation):
        try:
            walk.step(number, operation)
        except GraphError as error:
            name = value_name(graph, number)  # the line says it as well
            message = str(error) if operation.line else f"{name}: {error}"
            raise GraphError(message, error.rule, operation.line) from None
    types = Types(tuple(walk.values), walk.cost, walk.row_bytes, walk.fixed_bytes)
    for name, ref in graph.outputs.items():
        try:
            types.of(ref)
        except GraphError as error:
            raise GraphError(f"{name}: {error}") from None
    return types


def value_name(graph: CreditGraph, number: int) -> str:
    """How messages name a value: an input, a constant, or an operation with its line."""
    if number < FIRST_CONSTANT:
        return ("agent_qs", "state")[number]
    if number < graph.first_operation:
        return f"constant {number - FIRST_CONSTANT}"
    o = graph.operations[number - graph.first_operation]
    short = o.op.split(".")[1]
    return f"{short} (line {o.line})" if o.line else short


class _Walk:
    """The values so far and what they cost."""

    def __init__(self, graph: CreditGraph) -> None:
        self.cost = self.row_bytes = self.fixed_bytes = 0
        self.values: list[tuple[TensorType, ...]] = [
            (TensorType("float", (1, graph.n_agents), 0),),
            (TensorType("float", (1, graph.state_dim), 0),),
            *((TensorType(c.dtype, c.shape),) for c in graph.constants),
        ]
        self._reads_qs = {0}

    def step(self, number: int, operation: Operation) -> None:
        """Type one operation and add up what it needs."""
        spec = OPS[operation.op]
        results = spec.results(operation.args, dict(operation.kwargs), self._type_of)
        refs = refs_of(operation)
        if any(r.value in self._reads_qs for r in refs):
            self._reads_qs.add(number)
        for x in results:
            _bound(x)
            self._count(x, number, spec.is_view)
            self.cost += spec.cost * x.elements
        self._count_temporaries(operation, number, refs)
        if spec.family in _TOUCHES_OPERANDS:
            self.cost += self._reading(operation, refs, results[0])
        if self.cost > MAX_ROW_COST:
            raise GraphError(
                f"the function needs over {MAX_ROW_COST:,} floating-point operations for each "
                "state: use smaller intermediate tensors",
                "graph.cost",
            )
        self.values.append(results)

    def _type_of(self, ref: Ref) -> TensorType:
        results = self.values[ref.value]
        if ref.out >= len(results):
            raise GraphError("it refers to a result that does not exist")
        return results[ref.out]

    def _count(self, x: TensorType, number: int, is_view: bool) -> None:
        """Add a result's memory: itself unless it is a view, and its gradient where it has one."""
        copies = (not is_view) + (number in self._reads_qs and x.dtype == "float")
        size = x.elements * BYTES[x.dtype] * copies
        if x.axis is not None:
            self.row_bytes += size
            return
        self.fixed_bytes += size
        if self.fixed_bytes > MAX_FIXED_BYTES:
            raise GraphError(
                f"tables of over {MAX_FIXED_BYTES >> 20} MiB that do not grow with the batch",
                "graph.size",
            )

    def _count_temporaries(self, operation: Operation, number: int, refs: list[Ref]) -> None:
        """Add what kernels make beside their results: copies of operands, and clamped indices."""
        copies = _TEMPORARIES.get(operation.op.split(".")[1], 0) * (number in self._reads_qs)
        indexed = OPS[operation.op].family == "indexed"
        for x in map(self._type_of, refs):
            if x.axis is None:
                continue
            if x.dtype == "float":
                self.row_bytes += copies * x.elements * BYTES["float"]
            elif indexed and x.dtype == "int64":
                self.row_bytes += x.elements * BYTES["int64"]

    def _reading(self, operation: Operation, refs: list[Ref], out: TensorType) -> int:
        """Elements read; for a product of matrices, multiplications and additions."""
        operands = [self._type_of(r) for r in refs]
        if OPS[operation.op].family == "matmul":
            left = operands[-2] if len(operands) > 1 else operands[0]
            return out.elements * max(1, left.shape[-1]) * 2
        return max((x.elements for x in operands), default=0)


def _bound(x: TensorType) -> None:
    if len(x.shape) > MAX_DIMENSIONS:
        raise GraphError(
            f"a tensor of {len(x.shape):,} dimensions; at most {MAX_DIMENSIONS}", "graph.size"
        )
    limit = MAX_FIXED_ELEMENTS if x.axis is None else MAX_ROW_ELEMENTS
    if x.elements > limit:
        per = "" if x.axis is None else " for each row of the batch"
        raise GraphError(
            f"a tensor {shown(x)} of {x.elements:,} elements{per}; the limit is {limit:,}. "
            "Work with [B, n_agents] or [B, n_agents, n_agents] tensors",
            "graph.size",
        )
