"""Follow one operation of a credit graph on abstract values, within bounds of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from sandbox.graph import Arg, Batch, CreditGraph, DTypeArg, Operation, Ref
from sandbox.inference import Types
from sandbox.prover.activations import TAKEN_FOR_SMOOTH
from sandbox.prover.arithmetic import steep
from sandbox.prover.domain import INF, Abstract, Interval, Reading, point
from sandbox.prover.registry import MAX_ELEMENTS, Context, Results
from sandbox.prover.rules import RULES
from sandbox.table import OPS
from sandbox.table.tensors import DType

MAX_TOTAL = 1 << 25
"""Elements of all abstract values of a graph together."""

MAX_STEPS = 12_000
"""Operations followed for one proof, replays and all parts included, each reading for itself; 0.2
to 0.4 ms each, so that proving by cases takes 5 s at the very most."""
_AS_LONG = 2_048
"""Elements that take as long as an operation on a few."""

TRUSTED = 1e-3
"""How far bounds over the reals may lie from those of float32, relative to the value."""
_MAX_WHOLE = 2.0**53  # beyond it float64 bounds are not exact, and int64 is near wrapping round
_EXACT32 = 2.0**24


@dataclass
class Budget:
    """What a proof may cost, in operations followed."""

    most: int = MAX_STEPS
    spent: int = 0

    @property
    def left(self) -> int:
        """Operations that may yet be replayed, or followed in parts."""
        return max(0, self.most - self.spent)


@dataclass
class Walk:
    """One interpretation of a graph: the values so far, and what following them has cost."""

    graph: CreditGraph
    types: Types
    reading: Reading
    rounded: Sequence[Results] | None = None
    """What the rounded reading found, in the reading over the reals."""
    wide: bool = False
    """Whether that reading takes every value for anywhere between its own bounds and float32's."""
    budget: Budget = field(default_factory=Budget)
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
        context, given, keywords, operands = self._call(operation, number, values)
        count = len(context.results)
        nothing = tuple(context.unknown(k) for k in range(count))
        if operation.op not in RULES or not self._afford(context, operands):
            return nothing
        if operation.op not in _LIKE and any(x.is_unknown for x in operands):
            return nothing
        try:
            args, kwargs = OPS[operation.op].positioned(given, keywords)
            made = RULES[operation.op](context, *args, **kwargs)
        except _REFUSALS:
            return nothing  # a form of the arguments that torch knows and the rule does not
        results = made if isinstance(made, tuple) else (made,)
        known = [
            _settle(results[k], context, k) if k < len(results) else context.unknown(k)
            for k in range(count)
        ]
        if OPS[operation.op].family not in _ELEMENTWISE and any(map(_moves, operands)):
            known = [_perhaps_moved(context, x) for x in known]
        if self.rounded is None:
            return tuple(known)
        pairs = zip(known, self.rounded[number], context.results, strict=True)
        n, jumps = self.graph.n_agents, _jumps(operation.op, args)
        return tuple(
            _no_surer(x, y, jumps or of.dtype != "float", n, self.wide) for x, y, of in pairs
        )

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
        self.budget.spent += 1 + min(MAX_ELEMENTS, depth * sum(sizes)) // _AS_LONG
        if depth * max(sizes, default=0) > MAX_ELEMENTS:
            return False
        self.elements += depth * sum(sizes)
        return self.elements <= MAX_TOTAL


_REFUSALS = (
    RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError, AssertionError,
    ArithmeticError,
)  # fmt: skip
_ELEMENTWISE = ("pointwise", "structural", "create")
"""Families whose rules follow each element by itself, infinities and NaN included.

In the others an element that may not be finite may owe that to any element of the operands.
"""


def _moves(x: Abstract) -> bool:
    return not bool(x.independent().all())


def _perhaps_moved(c: Context, x: Abstract) -> Abstract:
    hidden = x.bad & x.independent()
    return steep(c, x, hidden) if bool(hidden.any()) else x


_LIKE = {
    f"aten.{n}.default"
    for n in "new_zeros new_ones new_full zeros_like ones_like full_like".split()
}
"""Operations that look at nothing of their operand but its dtype and shape."""


_JUMPS = {
    f"aten.{name}"
    for name in """floor.default ceil.default round.default trunc.default sign.default frac.default
    div.Tensor_mode div.Scalar_mode floor_divide.default remainder.Tensor remainder.Scalar
    fmod.Tensor fmod.Scalar atan2.default""".split()
}
"""Operations that turn a rounding error into a whole step, beside conditions and whole numbers."""


def _jumps(op: str, args: Sequence[Any]) -> bool:
    if op == "aten.softplus.default":  # which steps down at its threshold
        return len(args) > 2 and args[2] < TAKEN_FOR_SMOOTH
    return op in _JUMPS


def _no_surer(x: Abstract, rounded: Abstract, jumps: bool, n_agents: int, wide: bool) -> Abstract:
    """A value over the reals, no surer of conditions, steps and finiteness than float32 is.

    Args:
        jumps: where a rounding error before it is a step of its own size after it. In which
            direction it steps is then known only as far as float32 knows it.
        wide: no surer of any value, either, but of each direction that float32 shows.
    """
    if x.is_unknown or rounded.is_unknown:
        return x if x.is_unknown else rounded
    touched = ~rounded.independent()
    value, slope = x.value, x.slope
    # What depends on no Q is a factor as float32 has it; the rest is `Proof.rounding`. What float32
    # does not bound at all is bounded behind it, by a choice or a clamp, or q_tot is not finite.
    near = value.hull(rounded.value)
    finite = near.size().isfinite()
    loose = torch.ones_like(touched) if jumps else finite if wide else ~touched & finite
    value = Interval(torch.where(loose, near.lo, value.lo), torch.where(loose, near.hi, value.hi))
    if jumps and bool(touched.any()):
        both = x.slopes(n_agents).hull(rounded.slopes(n_agents))
        own = x.slopes(n_agents)
        slope = Interval(
            torch.where(touched, both.lo, own.lo), torch.where(touched, both.hi, own.hi)
        )
    if wide and slope is not None and rounded.slope is not None:
        up, down = rounded.slope.lo >= 0, rounded.slope.hi <= 0
        slope = Interval(
            torch.where(up, slope.lo.clamp(min=0.0), slope.lo),
            torch.where(down, slope.hi.clamp(max=0.0), slope.hi),
        )
    return replace(
        x, value=value, slope=slope, bad=x.bad | rounded.bad, nan=x.nan | rounded.nan,
        touched=touched,
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
