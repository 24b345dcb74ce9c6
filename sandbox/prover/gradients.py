"""Prove that float32's gradient with respect to the agents' Qs is finite, and bound its rounding.

Autograd goes back from q_tot through every operation on what depends on a Q, also where a choice
drops its result or a factor of zero cancels it: an infinite derivative then meets a gradient of
zero, and NaN comes of both. So each of them must have a derivative that is bounded on its operands'
ranges. The gradient's size is followed backwards as one number for each value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sandbox.graph import Arg, CreditGraph, Operation, Ref, refs_of
from sandbox.inference import Types
from sandbox.prover.derivatives import BOUNDS, REACHES, At, size_of
from sandbox.prover.domain import FLOAT32_MAX, INF
from sandbox.prover.registry import Results
from sandbox.table import OPS

_ROUNDING = 2.0**-22
"""Rounding errors of one operation, relative to its result or to the terms that it adds up."""
_EXACT = ("structural", "indexed", "create")
_ADDING = ("scatter_add", "index_put", "index_add")
"""Of these the ones that may add up what meets at a place."""

_MOVES = ("structural", "indexed")
_AVERAGES = "mean amax amin max min median logsumexp sort topk linalg_vector_norm norm".split()
"""No result of these is further off than the elements it comes from."""


@dataclass(frozen=True)
class Gradient:
    """What follows from bounds on the derivatives of every operation that reads a Q."""

    finite: bool
    """Whether float32's gradient of q_tot is finite wherever the operands are within their bounds.
    """
    rounding: float
    """How far float32's q_tot may be from the exact one by rounding what depends on a Q; infinite
    where ``finite`` is not known."""


def gradient(graph: CreditGraph, types: Types, values: Sequence[Results]) -> Gradient:
    """Bound the gradient of q_tot, and the rounding errors that it carries there.

    Args:
        graph: gated.
        types: of its values.
        values: what is known of every value in float32.
    """
    rounding = _follow(graph, types, values, moving_values(graph, types))
    finite = _follow(graph, types, values, _moving(graph, types)) is not None
    return Gradient(finite, INF if rounding is None else rounding)


def errors(graph: CreditGraph, types: Types, values: Sequence[Results]) -> list[float]:
    """How far rounding what depends on a Q may take the elements of every value in float32.

    Infinite where a derivative on the way to a value is not bounded.
    """
    moving = moving_values(graph, types)
    found = [0.0] * len(values)
    for number in sorted(moving - {0}):
        operation = graph.operations[number - graph.first_operation]
        own = max(map(size_of, values[number]))
        try:
            for value, bound, _, _ in _derivatives(operation, number, types, values, moving):
                terms = max(t.elements for t in types.values[value])
                if not _is_rounded_once(operation.op):
                    own += bound * terms * terms * max(map(size_of, values[value]))
            made = carried(graph, types, values, number, moving, found)
        except (ArithmeticError, ValueError):
            made = INF
        made += 0.0 if _is_exact(operation.op) else own * _ROUNDING
        found[number] = made if made <= FLOAT32_MAX else INF
    return found


def moving_values(graph: CreditGraph, types: Types) -> set[int]:
    """The values that depend on a Q, those by whole numbers or conditions included."""
    return _moving(graph, types, also_whole=True)


def carried(
    graph: CreditGraph,
    types: Types,
    values: Sequence[Results],
    number: int,
    moving: set[int],
    amounts: Sequence[float],
) -> float:
    """How much of what its operands are off a result is off, at most.

    Args:
        graph: gated.
        types: of its values.
        values: what is known of every value in float32.
        number: the result.
        moving: values that depend on a Q; nothing else is off.
        amounts: how far every value is off, at most.

    Raises:
        ArithmeticError: a derivative is not bounded; or ValueError.
    """
    operation, total = graph.operations[number - graph.first_operation], 0.0
    for value, bound, _, _ in _derivatives(operation, number, types, values, moving):
        if amounts[value]:
            terms = max(t.elements for t in types.values[value])
            total += bound * _fan_in(operation.op, terms) * amounts[value]
    return total


def _fan_in(op: str, terms: int) -> int:
    """How many elements of an operand, at most, have their errors added up in one result."""
    once = OPS[op].family == "pointwise" or _is_exact(op) or op.split(".")[1] in _AVERAGES
    return 1 if once else terms


def _follow(
    graph: CreditGraph, types: Types, values: Sequence[Results], moving: set[int]
) -> float | None:
    """Go back from q_tot through moving values; None where a derivative is not bounded.

    Returns:
        A bound on how far their rounding moves q_tot.
    """
    rounding = 0.0
    sizes = {graph.outputs["q_tot"].value: 1.0}
    for number in range(len(types.values) - 1, graph.first_operation - 1, -1):
        if number not in moving or number not in sizes:
            continue
        operation = graph.operations[number - graph.first_operation]
        error = max(map(size_of, values[number]))
        try:
            for value, bound, copies, reach in _derivatives(
                operation, number, types, values, moving
            ):
                derivative = bound * copies
                size = sizes.get(value, 0.0) + sizes[number] * derivative
                # The kernel's own numbers, too: a small gradient, or none, does not mend them.
                if not max(size, derivative, sizes[number] * reach) <= FLOAT32_MAX:
                    return None
                sizes[value] = size
                if not _is_rounded_once(operation.op):  # in the worst order of its many terms
                    terms = max(t.elements for t in types.values[value])
                    error += derivative * terms * terms * max(map(size_of, values[value]))
        except (ArithmeticError, ValueError):
            return None  # a pole, or too large for a float
        if not _is_exact(operation.op):
            elements = max(t.elements for t in types.values[number])
            rounding += sizes[number] * elements * error * _ROUNDING
    return rounding


def _is_exact(op: str) -> bool:
    return OPS[op].family in _EXACT and op.split(".")[1] not in _ADDING


def _is_rounded_once(op: str) -> bool:
    return OPS[op].family == "pointwise" or _is_exact(op)


def _moving(graph: CreditGraph, types: Types, *, also_whole: bool = False) -> set[int]:
    """The values that autograd follows back to the Qs.

    Args:
        also_whole: those too that depend on a Q by whole numbers or conditions.
    """
    moving, depending = {0}, {0}
    for number, o in enumerate(graph.operations, graph.first_operation):
        floats = any(t.dtype == "float" for t in types.values[number])
        if OPS[o.op].family == "create":
            continue
        if any(r.value in depending for r in refs_of(o)):
            depending.add(number)
        reads = any(r.value in moving and types.of(r).dtype == "float" for r in refs_of(o))
        if floats and (reads or (also_whole and number in depending)):
            moving.add(number)
    return moving


def _in(args: Sequence[Arg]) -> Iterator[Ref]:
    for a in args:
        if isinstance(a, Ref):
            yield a
        elif type(a) is tuple:
            yield from _in(a)


def _derivatives(
    operation: Operation, number: int, types: Types, values: Sequence[Results], moving: set[int]
) -> Iterator[tuple[int, float, int, float]]:
    """Moving operands, each with a bound on the derivative of a result by one of its elements, with
    the number of results that the element reaches, and with the largest factor that the kernel has
    on its way there."""
    args, named = OPS[operation.op].positioned(operation.args, dict(operation.kwargs))
    name, family = operation.op.split(".")[1], OPS[operation.op].family
    at = At(name, args, named, values, number)
    bounds = BOUNDS[name](at) if name in BOUNDS else (1.0 if family in _MOVES else INF)
    reach = REACHES[name](at) if name in REACHES else 1.0
    results = max(t.elements for t in types.values[number])
    for k, arg in enumerate(args):
        bound = bounds[min(k, len(bounds) - 1)] if isinstance(bounds, tuple) else bounds
        for ref in _in((arg,)):
            if ref.value not in moving or types.of(ref).dtype != "float":
                continue
            x = values[ref.value][ref.out]
            if x.is_unknown or bool(x.bad.any()):
                yield ref.value, INF, 1, INF
                continue
            copies = results
            if family in ("pointwise", "structural"):
                copies = max(1, -(-results // max(1, types.of(ref).elements)))
            elif family in ("reduction", "normalise"):
                copies = 1
            yield ref.value, bound, copies, reach
