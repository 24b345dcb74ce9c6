"""Walk a credit graph with abstract values instead of tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sandbox.graph import Arg, Batch, CreditGraph, DTypeArg, Operation, Ref
from sandbox.prover.domain import Abstract, Interval, Reading, known, point, unknown
from sandbox.shapes import Shape, Shapes

Rule = Callable[..., "Abstract | tuple[Abstract, ...]"]
RULES: dict[str, Rule] = {}


def rule(*overloads: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations, named without their ``aten.`` prefix."""

    def register(function: Rule) -> Rule:
        for name in overloads:
            RULES[f"aten.{name}"] = function
        return function

    return register


def fold(shape: Shape) -> tuple[tuple[int, ...], int | None, bool]:
    """A shape with its batch dimension as 1; which axis that is; whether it is a plain batch."""
    axis = next((i for i, d in enumerate(shape) if d.c1), None)
    plain = axis is None or (shape[axis].c1 == 1 and shape[axis].c0 == 0)
    return tuple(1 if d.c1 else d.c0 for d in shape), axis, plain


@dataclass
class Context:
    """What a rule may ask about the operation it follows."""

    reading: Reading
    n_agents: int
    op: str
    result_shapes: tuple[Shape, ...]
    result_dtypes: tuple[torch.dtype, ...]
    operand_dtypes: tuple[torch.dtype, ...]

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Folded shape of the first result."""
        return fold(self.result_shapes[0])[0]

    @property
    def result_axis(self) -> int | None:
        """Batch axis of the first result."""
        return fold(self.result_shapes[0])[1]

    @property
    def result_dtype(self) -> torch.dtype:
        """Dtype of the first result."""
        return self.result_dtypes[0]

    def unknown(self, which: int = 0) -> Abstract:
        """Nothing known about a result."""
        shape, axis, _ = fold(self.result_shapes[which])
        return unknown(shape, axis, self.n_agents)

    def literal(self, number: float) -> Abstract:
        """A plain number as a tensor without dimensions."""
        return point(torch.tensor(float(number), dtype=torch.float64), None)

    def literal_like(self, number: float, x: Abstract) -> Abstract:
        """A plain number in the shape of ``x``."""
        return point(torch.full(x.shape, float(number), dtype=torch.float64), x.batch_axis)

    def tensor(self, x: Any) -> Abstract:
        """An operand: an abstract value as it is, a number as a literal."""
        return x if isinstance(x, Abstract) else self.literal(x)

    def apply(self, name: str, *args: Any) -> Abstract:
        """Another operation's rule within this one."""
        result = RULES[f"aten.{name}"](self, *args)
        assert isinstance(result, Abstract)
        return result


def interpret(
    graph: CreditGraph,
    shapes: Shapes,
    reading: Reading,
    q_range: tuple[float, float],
    state_ranges: list[tuple[float, float]],
) -> list[tuple[Abstract, ...]]:
    """Abstract results of every value, for agents' Q in ``q_range`` and states in their ranges."""
    n = graph.n_agents
    qs = Interval(
        torch.full((1, n), q_range[0], dtype=torch.float64),
        torch.full((1, n), q_range[1], dtype=torch.float64),
    )
    identity = torch.eye(n, dtype=torch.float64).reshape(n, 1, n)
    low, high = (torch.tensor([r[k] for r in state_ranges], dtype=torch.float64) for k in (0, 1))
    values: list[tuple[Abstract, ...]] = [
        (known(qs, 0, Interval(identity, identity)),),
        (known(Interval(low.reshape(1, -1), high.reshape(1, -1)), 0),),
    ]
    for c in graph.constants:
        data = torch.tensor(c.data, dtype=torch.float64).reshape(c.shape)
        literal = point(data, None)
        if c.dtype == "float":
            literal = known(reading.outward(literal.value), None, bad=literal.bad)
        values.append((literal,))
    for number, operation in enumerate(graph.operations, start=graph.first_operation):
        values.append(_step(operation, number, values, shapes, reading, n))
    return values


def _step(
    operation: Operation,
    number: int,
    values: list[tuple[Abstract, ...]],
    shapes: Shapes,
    reading: Reading,
    n_agents: int,
) -> tuple[Abstract, ...]:
    operands: list[Abstract] = []
    dtypes: list[torch.dtype] = []

    def build(arg: Arg) -> Any:
        if isinstance(arg, Ref):
            operands.append(values[arg.value][arg.out])
            dtypes.append(shapes.dtype[arg.value][arg.out])
            return operands[-1]
        if isinstance(arg, Batch):
            return arg.at(1)
        if isinstance(arg, DTypeArg):
            return arg
        if type(arg) is tuple:
            return [build(a) for a in arg]
        return arg

    args = [build(a) for a in operation.args]
    kwargs = {k: build(v) for k, v in operation.kwargs}
    context = Context(
        reading, n_agents, operation.op, shapes.shape[number], shapes.dtype[number], tuple(dtypes)
    )
    nothing = tuple(context.unknown(k) for k in range(len(context.result_shapes)))
    if any(x.is_unknown for x in operands) or operation.op not in RULES:
        return nothing
    if not all(fold(s)[2] for s in context.result_shapes):
        return nothing
    lost = any(x.batch_axis is not None for x in operands) and context.result_axis is None
    if lost and operation.op not in _LIKE:
        return nothing  # rows were folded together, or one row was picked
    made = RULES[operation.op](context, *args, **kwargs)
    results = made if isinstance(made, tuple) else (made,)
    return tuple(
        _settle(r, context, k) if k < len(results) else context.unknown(k)
        for k, r in enumerate(results)
    )


_LIKE = {f"aten.{n}" for n in "new_zeros.default new_ones.default new_full.default".split()}


def _settle(x: Abstract, context: Context, which: int) -> Abstract:
    """A rule's result in the shape that the operation has; overflow noted."""
    shape, axis, _ = fold(context.result_shapes[which])
    if x.is_unknown:
        return context.unknown(which)
    if tuple(x.shape) != shape:
        if x.value.lo.dim() > len(shape):
            return context.unknown(which)
        x = broadcast(x, shape)
    bad = x.bad
    if context.reading.float32 and context.result_dtypes[which].is_floating_point:
        limit = 3.4028234663852886e38
        bad = bad | ~((x.value.lo >= -limit) & (x.value.hi <= limit))
    return Abstract(x.value, x.slope, x.curved, bad, axis)


def broadcast(x: Abstract, shape: tuple[int, ...]) -> Abstract:
    """``x`` expanded to a folded shape."""

    def wide(t: Tensor) -> Tensor:
        return torch.broadcast_to(t, shape)

    slope = None
    if x.slope is not None:
        n = x.slope.lo.shape[0]
        inner = (n, *(1,) * (len(shape) - len(x.shape)), *x.shape)
        slope = Interval(
            x.slope.lo.reshape(inner).expand(n, *shape), x.slope.hi.reshape(inner).expand(n, *shape)
        )
    return Abstract(
        Interval(wide(x.value.lo), wide(x.value.hi)), slope, wide(x.curved), wide(x.bad), x.batch_axis
    )
