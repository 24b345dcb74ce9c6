"""Walk a credit graph with abstract values instead of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sandbox.graph import SIZED, Arg, Batch, CreditGraph, DTypeArg, Operation, Ref
from sandbox.prover.domain import (
    FLOAT32_MAX,
    INF,
    Abstract,
    Interval,
    Reading,
    known,
    point,
    unknown,
)
from sandbox.shapes import Shape, Shapes

Results = tuple[Abstract, ...]
Rule = Callable[..., "Abstract | Results"]
RULES: dict[str, Rule] = {}

MAX_ELEMENTS = 1 << 20
"""Elements of one abstract value, derivatives included; larger ones are not followed."""
MAX_TOTAL = 1 << 25
"""Elements of all abstract values of a graph together."""

_MAX_WHOLE = 2.0**53  # beyond it float64 bounds are not exact, and int64 is near wrapping round
_EXACT32 = 2.0**24

_R = TypeVar("_R", bound=Rule)


def rule(*overloads: str) -> Callable[[_R], _R]:
    """Register a rule for operations, named without their ``aten.`` prefix."""

    def register(function: _R) -> _R:
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
        return point(torch.tensor(float(number), dtype=torch.float64), None, self.reading)

    def literal_like(self, number: float, x: Abstract) -> Abstract:
        """A plain number in the shape of ``x``."""
        full = torch.full(x.shape, float(number), dtype=torch.float64)
        return point(full, x.batch_axis, self.reading)

    def tensor(self, x: Any) -> Abstract:
        """An operand: an abstract value as it is, a number as a literal."""
        return x if isinstance(x, Abstract) else self.literal(x)

    def overflow(self, x: Interval) -> Tensor:
        """Where float32 may have become infinite (nowhere in real arithmetic)."""
        if not self.reading.float32:
            return torch.zeros((), dtype=torch.bool).expand(x.lo.shape)
        return ~((x.lo >= -FLOAT32_MAX) & (x.hi <= FLOAT32_MAX))

    def held(self, x: Interval) -> Interval:
        """Bounds beyond float32's range taken to infinity, where such values end up."""
        if not self.reading.float32:
            return x
        lo = torch.where(x.lo < -FLOAT32_MAX, -INF, x.lo)
        return Interval(lo, torch.where(x.hi > FLOAT32_MAX, INF, x.hi))

    def apply(self, name: str, *args: Any) -> Abstract:
        """Another operation's rule within this one."""
        result = RULES[f"aten.{name}"](self, *args)
        assert isinstance(result, Abstract)
        return result


@dataclass
class Walk:
    """One interpretation of a graph: the values so far, and what following them has cost."""

    graph: CreditGraph
    shapes: Shapes
    reading: Reading
    values: dict[int, Results] = field(default_factory=dict)
    elements: int = 0

    def operation(self, number: int) -> Operation | None:
        """The operation that makes a value; None for inputs and constants."""
        at = number - self.graph.first_operation
        return self.graph.operations[at] if at >= 0 else None

    def abstract(self, arg: object) -> Abstract | None:
        """What is known of an argument that is a value or a plain number."""
        if isinstance(arg, Ref):
            return self.values[arg.value][arg.out]
        if type(arg) in (int, float, bool):
            return point(torch.tensor(float(arg), dtype=torch.float64), None, self.reading)  # type: ignore[arg-type]
        return None

    def step(self, number: int, values: Mapping[int, Results]) -> Results:
        """The abstract results of an operation on the values before it."""
        operation = self.graph.operations[number - self.graph.first_operation]
        context, args, kwargs, operands = self._call(operation, number, values)
        nothing = tuple(context.unknown(k) for k in range(len(context.result_shapes)))
        if args is None or operation.op not in RULES:
            return nothing
        if operation.op not in _LIKE and any(x.is_unknown for x in operands):
            return nothing
        if not all(fold(s)[2] for s in context.result_shapes):
            return nothing
        lost = any(x.batch_axis is not None for x in operands) and context.result_axis is None
        if lost and operation.op not in _LIKE:
            return nothing  # rows were folded together, or one row was picked
        if not self._afford(context, operands):
            return nothing
        try:
            made = RULES[operation.op](context, *args, **kwargs)
        except _REFUSALS:
            return nothing  # a form of the arguments that torch knows and the rule does not
        results = made if isinstance(made, tuple) else (made,)
        return tuple(
            _settle(results[k], context, k) if k < len(results) else context.unknown(k)
            for k in range(len(context.result_shapes))
        )

    def _call(
        self, operation: Operation, number: int, values: Mapping[int, Results]
    ) -> tuple[Context, list[Any] | None, dict[str, Any], list[Abstract]]:
        operands: list[Abstract] = []
        dtypes: list[torch.dtype] = []

        def build(arg: Arg, within: bool = False) -> Any:
            if isinstance(arg, Ref):
                operands.append(values[arg.value][arg.out])
                dtypes.append(self.shapes.dtype[arg.value][arg.out])
                return operands[-1]
            if isinstance(arg, Batch):
                if not within or operation.op not in SIZED:
                    raise _GrowsWithBatch
                return arg.at(1)
            if type(arg) is tuple:
                return [build(a, True) for a in arg]
            return arg if not isinstance(arg, DTypeArg) else arg.name

        args: list[Any] | None
        try:
            args = [build(a) for a in operation.args]
            kwargs = {k: build(v) for k, v in operation.kwargs}
        except _GrowsWithBatch:
            args, kwargs = None, {}
        context = Context(
            self.reading, self.graph.n_agents, operation.op,
            self.shapes.shape[number], self.shapes.dtype[number], tuple(dtypes),
        )  # fmt: skip
        return context, args, kwargs, operands

    def _afford(self, context: Context, operands: Sequence[Abstract]) -> bool:
        """Whether following the operation stays within the bounds of memory."""
        depth = 1 + context.n_agents * any(x.slope is not None for x in operands)
        sizes = [torch.Size(fold(s)[0]).numel() for s in context.result_shapes]
        if depth * max(sizes, default=0) > MAX_ELEMENTS:
            return False
        self.elements += depth * sum(sizes)
        return self.elements <= MAX_TOTAL


class _GrowsWithBatch(Exception):
    """A number that depends on the size of the batch."""


_REFUSALS = (
    RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError,
    ArithmeticError,
)  # fmt: skip
_LIKE = {
    f"aten.{n}.default"
    for n in "new_zeros new_ones new_full zeros_like ones_like full_like".split()
}
"""Operations that look at nothing of their operand but its dtype and shape."""


def inputs(
    graph: CreditGraph,
    reading: Reading,
    q_range: tuple[float, float],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool],
) -> list[Results]:
    """Abstract inputs and constants. The rounded reading follows no derivatives."""
    n = graph.n_agents
    qs = Interval(
        torch.full((1, n), q_range[0], dtype=torch.float64),
        torch.full((1, n), q_range[1], dtype=torch.float64),
    )
    identity = torch.eye(n, dtype=torch.float64).reshape(n, 1, n)
    slope = None if reading.float32 else Interval(identity, identity)
    low, high = (torch.tensor([[r[k] for r in state_ranges]], dtype=torch.float64) for k in (0, 1))
    state = Interval(reading.literal(low).lo, reading.literal(high).hi)
    whole = torch.tensor([list(whole_columns)], dtype=torch.bool)
    values: list[Results] = [(known(qs, 0, slope),), (known(state, 0, whole=whole),)]
    for c in graph.constants:
        data = torch.tensor(c.data, dtype=torch.float64).reshape(c.shape)
        values.append((point(data, None, reading),))
    return values


def interpret(
    graph: CreditGraph,
    shapes: Shapes,
    reading: Reading,
    q_range: tuple[float, float],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool] | None = None,
) -> list[Results]:
    """Abstract results of every value, for agents' Q in ``q_range`` and states in their ranges.

    ``whole_columns`` says which state columns hold whole numbers only.
    """
    from sandbox.prover.guards import follow_guards  # it replays rules through this module
    from sandbox.prover.rules import RULES as _registered  # noqa: F401

    columns = [False] * graph.state_dim if whole_columns is None else whole_columns
    walk = Walk(graph, shapes, reading)
    walk.values = dict(enumerate(inputs(graph, reading, q_range, state_ranges, columns)))
    for number in range(graph.first_operation, graph.first_operation + len(graph.operations)):
        walk.values[number] = follow_guards(walk, number, walk.step(number, walk.values))
    return list(walk.values.values())


def _settle(x: Abstract, context: Context, which: int) -> Abstract:
    """A rule's result as the operation's dtype holds it; what is out of range noted."""
    shape, axis, _ = fold(context.result_shapes[which])
    if x.is_unknown or tuple(x.shape) != shape:
        return context.unknown(which)
    dtype = context.result_dtypes[which]
    lo, hi = x.value
    lost = lo.isnan() | hi.isnan()
    if bool(lost.any()):
        lo, hi = torch.where(lost, -INF, lo), torch.where(lost, INF, hi)
        x = replace(x, value=Interval(lo, hi), bad=x.bad | lost, nan=x.nan | lost)
    if x.slope is not None:
        odd = x.slope.lo.isnan() | x.slope.hi.isnan()
        slope = Interval(torch.where(odd, -INF, x.slope.lo), torch.where(odd, INF, x.slope.hi))
        x = replace(x, slope=slope)
    if dtype.is_floating_point:
        bad = x.bad | context.overflow(x.value)
        return replace(x, value=context.held(x.value), bad=bad, batch_axis=axis)
    yes = torch.ones(shape, dtype=torch.bool)
    if dtype == torch.bool:
        true, false = (lo > 0) | (hi < 0), (lo == 0) & (hi == 0)
        value = Interval((true & ~x.bad).double(), (~(false & ~x.bad)).double())
        off = torch.zeros(shape, dtype=torch.bool)
        return replace(x, value=value, bad=off, nan=off, whole=yes, batch_axis=axis)
    if bool((x.value.size() > _MAX_WHOLE).any()):
        return context.unknown(which)
    value = Interval(torch.minimum(lo, lo.trunc()), torch.maximum(hi, hi.trunc()))
    if context.reading.float32:
        # float32 reads whole numbers beyond 2^24 only roughly
        large, wide = value.size() > _EXACT32, context.reading.outward(value)
        value = Interval(
            torch.where(large, wide.lo, value.lo), torch.where(large, wide.hi, value.hi)
        )
    return replace(x, value=value, whole=yes, batch_axis=axis)


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
    return replace(
        x,
        value=Interval(wide(x.value.lo), wide(x.value.hi)),
        slope=slope, curved=wide(x.curved), bad=wide(x.bad), nan=wide(x.nan), whole=wide(x.whole),
    )  # fmt: skip
