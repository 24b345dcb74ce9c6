"""Walk a credit graph with abstract values instead of tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sandbox.graph import Arg, Batch, CreditGraph, DTypeArg, Operation, Ref
from sandbox.inference import Types
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
from sandbox.table import TensorType
from sandbox.table.tensors import DType

Results = tuple[Abstract, ...]
Rule = Callable[..., "Abstract | Results"]
RULES: dict[str, Rule] = {}

MAX_ELEMENTS = 1 << 20
"""Elements of one abstract value, derivatives included; larger ones are not followed."""
MAX_TOTAL = 1 << 25
"""Elements of all abstract values of a graph together."""

TRUSTED = 1e-3
"""How far bounds over the reals may lie from those of float32, relative to the value."""
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


@dataclass
class Context:
    """What a rule may ask about the operation it follows."""

    reading: Reading
    n_agents: int
    op: str
    results: tuple[TensorType, ...]
    operand_dtypes: tuple[DType, ...]
    trusts_operands: Callable[[], bool]
    """Asks whether the operands' bounds are, nearly, those of float32 (`Walk.holds_rounded`)."""

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the first result, for one row."""
        return self.results[0].shape

    @property
    def result_axis(self) -> int | None:
        """Batch axis of the first result."""
        return self.results[0].axis

    @property
    def result_dtype(self) -> DType:
        """Dtype of the first result."""
        return self.results[0].dtype

    def unknown(self, which: int = 0) -> Abstract:
        """Nothing known about a result."""
        of = self.results[which]
        return unknown(of.shape, of.axis, self.n_agents)

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
    types: Types
    reading: Reading
    rounded: Sequence[Results] | None = None
    """What the rounded reading found, in the reading over the reals."""
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

    def holds_rounded(self, number: int) -> bool:
        """Whether a value is, as far as its bounds show, what float32 makes of it.

        Where results cancel, real arithmetic knows a value that float32 does not come near, and
        what is compared with it must not count as known.
        """
        if self.rounded is None:
            return True
        (lo, hi), (low, high) = self.values[number][0].value, self.rounded[number][0].value
        room = TRUSTED * (1 + self.values[number][0].value.size())
        return bool((((lo - low).abs() <= room) | (lo == low)).all()) and bool(
            (((hi - high).abs() <= room) | (hi == high)).all()
        )

    def step(self, number: int, values: Mapping[int, Results]) -> Results:
        """The abstract results of an operation on the values before it."""
        operation = self.graph.operations[number - self.graph.first_operation]
        context, args, kwargs, operands = self._call(operation, number, values)
        count = len(context.results)
        nothing = tuple(context.unknown(k) for k in range(count))
        if operation.op not in RULES or not self._afford(context, operands):
            return nothing
        if operation.op not in _LIKE and any(x.is_unknown for x in operands):
            return nothing
        try:
            made = RULES[operation.op](context, *args, **kwargs)
        except _REFUSALS:
            return nothing  # a form of the arguments that torch knows and the rule does not
        results = made if isinstance(made, tuple) else (made,)
        known = (
            _settle(results[k], context, k) if k < len(results) else context.unknown(k)
            for k in range(count)
        )
        if self.rounded is None:
            return tuple(known)
        jumps = operation.op in _JUMPS or context.result_dtype == "int64"
        pairs = zip(known, self.rounded[number], strict=True)
        return tuple(_no_surer(x, y, jumps) for x, y in pairs)

    def _call(
        self, operation: Operation, number: int, values: Mapping[int, Results]
    ) -> tuple[Context, list[Any], dict[str, Any], list[Abstract]]:
        operands: list[Abstract] = []
        dtypes: list[DType] = []
        numbers: list[int] = []

        def build(arg: Arg) -> Any:
            if isinstance(arg, Ref):
                numbers.append(arg.value)
                operands.append(values[arg.value][arg.out])
                dtypes.append(self.types.of(arg).dtype)
                return operands[-1]
            if isinstance(arg, Batch):
                return arg.at(1)
            if type(arg) is tuple:
                return [build(a) for a in arg]
            return arg if not isinstance(arg, DTypeArg) else arg.name

        args = [build(a) for a in operation.args]
        kwargs = {k: build(v) for k, v in operation.kwargs}
        context = Context(
            self.reading, self.graph.n_agents, operation.op,
            self.types.values[number], tuple(dtypes),
            lambda: all(map(self.holds_rounded, numbers)),
        )  # fmt: skip
        return context, args, kwargs, operands

    def _afford(self, context: Context, operands: Sequence[Abstract]) -> bool:
        """Whether following the operation stays within the bounds of memory."""
        depth = 1 + context.n_agents * any(x.slope is not None for x in operands)
        sizes = [x.elements for x in context.results]
        if depth * max(sizes, default=0) > MAX_ELEMENTS:
            return False
        self.elements += depth * sum(sizes)
        return self.elements <= MAX_TOTAL


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
    q_ranges: Sequence[tuple[float, float]],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool],
) -> list[Results]:
    """Abstract inputs and constants.

    Over the reals an agent's Q rises with slope 1. In float32 only the direction of a slope is
    followed, which infinity stands for.
    """
    n = graph.n_agents
    least, most = (torch.tensor([[r[k] for r in q_ranges]], dtype=torch.float64) for k in (0, 1))
    own = torch.eye(n, dtype=torch.float64).reshape(n, 1, n)
    rising = torch.where(own > 0, INF, 0.0).to(torch.float64)
    slope = Interval(torch.zeros_like(own), rising) if reading.float32 else Interval(own, own)
    low, high = (torch.tensor([[r[k] for r in state_ranges]], dtype=torch.float64) for k in (0, 1))
    state = Interval(reading.literal(low).lo, reading.literal(high).hi)
    whole = torch.tensor([list(whole_columns)], dtype=torch.bool)
    values: list[Results] = [
        (known(Interval(least, most), 0, slope),),
        (known(state, 0, whole=whole),),
    ]
    for c in graph.constants:
        data = torch.tensor(c.data, dtype=torch.float64).reshape(c.shape)
        values.append((point(data, None, reading),))
    return values


def interpret(
    graph: CreditGraph,
    types: Types,
    reading: Reading,
    q_ranges: Sequence[tuple[float, float]],
    state_ranges: Sequence[tuple[float, float]],
    whole_columns: Sequence[bool] | None = None,
    rounded: Sequence[Results] | None = None,
) -> list[Results]:
    """Abstract results of every value, for agents' Qs and states in their ranges.

    Args:
        whole_columns: which state columns hold whole numbers only.
        rounded: what the rounded reading found for the same ranges. Conditions then count as known
            over the reals only where float32 knows them, and so do finite values.
    """
    from sandbox.prover.guards import follow_guards  # it replays rules through this module
    from sandbox.prover.rules import RULES as _registered  # noqa: F401

    columns = [False] * graph.state_dim if whole_columns is None else whole_columns
    walk = Walk(graph, types, reading, rounded)
    walk.values = dict(enumerate(inputs(graph, reading, q_ranges, state_ranges, columns)))
    for number in range(graph.first_operation, graph.first_operation + len(graph.operations)):
        walk.values[number] = follow_guards(walk, number, walk.step(number, walk.values))
    return list(walk.values.values())


_JUMPS = {f"aten.{name}.default" for name in ("floor", "ceil", "round", "trunc", "sign", "frac")}
"""Operations that turn a rounding error into a whole step."""


def _no_surer(x: Abstract, rounded: Abstract, jumps: bool) -> Abstract:
    """A value over the reals, no surer of conditions and finiteness than float32 is.

    Args:
        jumps: where a rounding error before it is a step of its own size after it.
    """
    if x.is_unknown or rounded.is_unknown:
        return x if x.is_unknown else rounded
    value = x.value
    if x.is_condition or jumps:
        value = value.hull(rounded.value)
    return replace(
        x, value=value, bad=x.bad | rounded.bad, nan=x.nan | rounded.nan,
        touched=~rounded.independent(),
    )  # fmt: skip


def _settle(x: Abstract, context: Context, which: int) -> Abstract:
    """A rule's result as the operation's dtype holds it; what is out of range noted."""
    dtype, shape, axis = context.results[which]
    if x.is_unknown or tuple(x.shape) != shape:
        return context.unknown(which)
    lo, hi = x.value
    lost = lo.isnan() | hi.isnan()
    if bool(lost.any()):
        lo, hi = torch.where(lost, -INF, lo), torch.where(lost, INF, hi)
        x = replace(x, value=Interval(lo, hi), bad=x.bad | lost, nan=x.nan | lost)
    if x.slope is not None:
        odd = x.slope.lo.isnan() | x.slope.hi.isnan()
        slope = Interval(torch.where(odd, -INF, x.slope.lo), torch.where(odd, INF, x.slope.hi))
        x = replace(x, slope=slope)
    if dtype == "float":
        bad = x.bad | context.overflow(x.value)
        return replace(x, value=context.held(x.value), bad=bad, batch_axis=axis)
    yes = torch.ones(shape, dtype=torch.bool)
    if dtype == "bool":
        true, false = (lo > 0) | (hi < 0), (lo == 0) & (hi == 0)
        value = Interval((true & ~x.bad).double(), (~(false & ~x.bad)).double())
        off = torch.zeros(shape, dtype=torch.bool)
        return replace(
            x, value=value, bad=off, nan=off, whole=yes, batch_axis=axis, is_condition=True
        )
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
