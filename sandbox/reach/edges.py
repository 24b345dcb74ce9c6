"""The edges of a credit graph: where a comparison turns, a kink bends, a pole lies, a step rises.

For each there is a function of the inputs, in float64, that is zero at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sandbox.graph import CreditGraph, DTypeArg, Operation, Ref
from sandbox.inference import Types
from sandbox.prover.domain import FLOAT32_MAX
from sandbox.table import TensorType

_Values = Sequence[Any]
_Edge = Callable[[_Values], Tensor]

_BENDS = {
    f"aten.{n}.default"
    for n in "relu abs sign leaky_relu sigmoid tanh erf atan softplus silu gelu mish elu square "
    "log_sigmoid_forward reciprocal rsqrt log log2 log10 sqrt".split()
}
"""Functions of one operand that bend, step, have a pole or end at zero."""
_OFFSETS: dict[str, tuple[float, ...]] = {
    "log1p": (-1.0,), "exp": (88.72, -103.97), "expm1": (88.72, -17.33), "exp2": (128.0, -150.0),
    "sinh": (-89.0, 89.0), "cosh": (-89.0, 89.0), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0),
    "hardsigmoid": (-3.0, 3.0), "hardswish": (-3.0, 3.0), "tanh": (-9.01, 9.01),
    "sigmoid": (-88.72, 16.64), "erf": (-3.9, 3.9),
}  # fmt: skip
"""Where functions of one operand overflow, end, bend, or reach their limit in float32."""
_WHOLE_STEPS = {"floor", "ceil"}
_STEPS_BUT_AT_ZERO = {"trunc", "frac"}
_LOOK_UPS = {"index_select": 2, "gather": 2, "index": 1}
"""Operations that read at computed places, and which of their arguments those are."""
_PASSED = {
    "_to_copy", "unsqueeze", "squeeze", "reshape", "expand", "clamp", "floor", "ceil", "trunc",
    "round",
}  # fmt: skip
_WHOLE_TABLE = 32
"""Entries of a table that are all aimed at."""
_PAST_INT64 = 63 * math.log(2)
_ORDERED = {"amax", "amin", "max", "min", "sort", "topk", "argmax", "argmin", "median"}


@dataclass(frozen=True)
class Edge:
    """An edge in each element of a value."""

    line: int | None
    of: TensorType
    """Type of what `at` gives."""
    at: _Edge


def edges_of(graph: CreditGraph, types: Types, values: _Values) -> list[Edge]:
    """Every edge that a row's inputs may reach.

    Args:
        values: all values of the graph for some inputs, of which the constant ones are looked at.
    """
    found = []
    for number, operation in enumerate(graph.operations, graph.first_operation):
        every = (*_edges(operation, number, types), *_extremes(graph, operation, types, values))
        for of, at in every:
            if of.axis is not None:
                found.append(Edge(operation.line, of, at))
    return found


def _extremes(
    graph: CreditGraph, o: Operation, types: Types, values: _Values
) -> Iterator[tuple[TensorType, _Edge]]:
    """Where a constant table is read: at its smallest and largest entry, of a short one at all."""
    table = o.args[0] if o.args else None
    at = _LOOK_UPS.get(o.op.split(".")[1])
    if at is None or not isinstance(table, Ref) or len(o.args) <= at:
        return
    indices = o.args[at] if type(o.args[at]) is tuple else (o.args[at],)
    given = [i for i in indices if isinstance(i, Ref)]
    if len(given) != 1 or types.of(table).axis is not None:
        return
    entries = _read(table)(values)
    computed = _before_casts(graph, given[0])
    place = _read(computed)
    short = entries.dim() == 1 and len(entries) <= _WHOLE_TABLE
    flat = range(len(entries)) if short else {int(entries.argmin()), int(entries.argmax())}
    for one in flat:
        for entry in {int(k) for k in torch.unravel_index(torch.tensor(one), entries.shape)}:
            yield types.of(computed), _shifted(place, entry)


def _before_casts(graph: CreditGraph, ref: Ref) -> Ref:
    """What a place was computed as, before it was made whole and put in shape."""
    while ref.value >= graph.first_operation:
        o = graph.operations[ref.value - graph.first_operation]
        if o.op.split(".")[1] not in _PASSED or not isinstance(o.args[0], Ref):
            return ref
        ref = o.args[0]
    return ref


def by_row(x: Tensor, of: TensorType, rows: int) -> Tensor:
    """A value as ``[rows, elements]``."""
    if of.axis is None:
        return x.reshape(1, -1).expand(rows, -1)
    return x.movedim(of.axis, 0).reshape(rows, -1)


def _read(arg: Any) -> _Edge:
    """An operand as float64."""
    if not isinstance(arg, Ref):
        number = torch.tensor(float(arg), dtype=torch.float64)
        return lambda values: number

    def read(values: _Values) -> Tensor:
        made = values[arg.value]
        return (made if isinstance(made, Tensor) else made[arg.out]).double()

    return read


def _edges(o: Operation, number: int, types: Types) -> Iterator[tuple[TensorType, _Edge]]:
    name = o.op.split(".")[1]
    result = types.values[number][0]
    if not o.args or not isinstance(o.args[0], Ref):
        if name == "pow" and isinstance(o.args[1], Ref):
            return
        if not o.args or not (len(o.args) > 1 and name == "where"):
            return
    x = _read(o.args[0]) if isinstance(o.args[0], Ref) else None
    own = types.of(o.args[0]) if isinstance(o.args[0], Ref) else result
    if x is None:
        return
    if o.op in _BENDS or (name == "pow" and o.op != "aten.pow.Scalar"):
        yield own, x
    for offset in _OFFSETS.get(name, ()):
        yield own, _shifted(x, offset)
    if name in _WHOLE_STEPS:
        yield own, _sawtooth(x, 0.0)
    elif name in _STEPS_BUT_AT_ZERO:
        yield own, _sawtooth(x, 0.0, at_zero=False)
    elif name == "round":
        yield own, _sawtooth(x, 0.5)
    elif name == "_to_copy" and own.dtype == "float":
        kind = dict(o.kwargs).get("dtype")
        if kind == DTypeArg("int64"):
            yield own, _sawtooth(x, 0.0, at_zero=False)
            yield own, _overflow(x, _PAST_INT64)
        elif kind == DTypeArg("bool"):
            yield own, x
    elif name in ("isinf", "isnan", "nan_to_num"):
        yield own, _overflow(x, math.log(FLOAT32_MAX))
    elif name == "softplus":  # takes the identity from there on
        beta, threshold = (*o.args[1:], *(1.0, 20.0)[len(o.args) - 1 :])[:2]
        yield own, lambda values: x(values) * float(beta) - float(threshold)
    elif name == "tan":
        yield own, lambda values: torch.cos(x(values))
    elif name in _ORDERED and own.shape:
        yield from _ties(o, own, x)
    elif name in ("hardtanh", "clamp", "clamp_min", "clamp_max"):
        ends = o.args[1:] or ((-1.0, 1.0) if name == "hardtanh" else ())
        for end in ends:
            if end is not None:
                yield result, _difference(x, _read(end))
    elif len(o.args) > 1 and type(o.args[1]) in (int, float, bool, Ref):
        yield from _of_two(name, o, result, x)


def _of_two(
    name: str, o: Operation, result: TensorType, x: _Edge
) -> Iterator[tuple[TensorType, _Edge]]:
    y = _read(o.args[1])
    if name in ("eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum"):
        yield result, _difference(x, y)
    elif name in ("remainder", "fmod", "floor_divide") or o.op.endswith("_mode"):
        at_zero = name != "fmod" and dict(o.kwargs).get("rounding_mode") != "trunc"
        yield result, _sawtooth(lambda values: x(values) / y(values), 0.0, at_zero=at_zero)
        if isinstance(o.args[1], Ref):
            yield result, _difference(y, _read(0.0), x)
    elif name in ("div", "atan2") and isinstance(o.args[1], Ref):
        yield result, _difference(y, _read(0.0), x)
    elif name == "mul" and o.args[0] == o.args[1]:
        yield result, x


def _shifted(x: _Edge, offset: float) -> _Edge:
    return lambda values: x(values) - offset


def _sawtooth(x: _Edge, offset: float, *, at_zero: bool = True) -> _Edge:
    """Distance to the nearest whole number, shifted.

    Args:
        at_zero: whether there is a step at zero, too.
    """

    def at(values: _Values) -> Tensor:
        value = x(values) - offset
        nearest = value.detach().round()
        if not at_zero:
            side = torch.where(value.detach() < 0, -1.0, 1.0).to(nearest.dtype)
            nearest = torch.where(nearest == 0, side, nearest)
        return value - nearest

    return at


def _overflow(x: _Edge, logarithm: float) -> _Edge:
    """Distance of a size's logarithm to that of the largest number that can be held."""

    def at(values: _Values) -> Tensor:
        return x(values).abs().clamp(min=1e-300).log() - logarithm

    return at


def _difference(a: _Edge, b: _Edge, like: _Edge | None = None) -> _Edge:
    """a - b in the shape of the result (that of ``like`` taken in)."""

    def at(values: _Values) -> Tensor:
        out = a(values) - b(values)
        return out if like is None else out.expand_as(torch.broadcast_tensors(out, like(values))[0])

    return at


def _ties(o: Operation, own: TensorType, x: _Edge) -> Iterator[tuple[TensorType, _Edge]]:
    """Neighbours along the dimension that is ordered, against each other."""
    given = o.args[2] if o.op == "aten.topk.default" and len(o.args) > 2 else None
    if given is None and len(o.args) > 1 and o.op != "aten.topk.default":
        given = o.args[1][0] if type(o.args[1]) is tuple and o.args[1] else o.args[1]
    dim = given if type(given) is int else len(own.shape) - 1
    if dim % len(own.shape) == own.axis or own.shape[dim] < 2:
        return

    def at(values: _Values) -> Tensor:
        value = x(values)
        return value - value.roll(1, dim)

    yield own, at
