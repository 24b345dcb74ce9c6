"""What would make a condition of a graph come out the other way.

A condition is followed back, element by element, through logic, indicators and the movement of
elements to the comparisons it is made of: to conjunctions of differences that must be above, below
or at zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import torch

from sandbox.graph import CreditGraph, Operation, Ref, map_refs
from sandbox.inference import Types
from sandbox.runtime import operation_call
from sandbox.table import OPS

MAX_WAYS = 24
"""Conjunctions that are tried for one condition."""
MAX_ATOMS = 40
MAX_DEPTH = 60

Element = tuple[Ref, int]
"""A value and the place of one of its elements, row-major, in a batch of one row."""


@dataclass(frozen=True)
class Atom:
    """left - right (or left minus a number) is to be ``above``, ``below`` or ``at`` zero."""

    left: Element | float
    right: Element | float
    wanted: str


Way = tuple[Atom, ...]

_TURNED = {"above": "below", "below": "above", "at": "at"}
_HOLDS = {"gt": "above", "ge": "above", "lt": "below", "le": "below", "eq": "at", "ne": "apart"}
_OPPOSITE = {"above": "below", "below": "above", "at": "apart", "apart": "at"}
_CONDITIONS = ("logical_and", "bitwise_and", "logical_or", "bitwise_or")


class Goals:
    """Ways to make elements of a graph's conditions true or false.

    Args:
        indicators: values that were seen to hold nothing but zeros and ones.
    """

    def __init__(self, graph: CreditGraph, types: Types, indicators: set[Ref]) -> None:
        self.graph, self.types, self.indicators = graph, types, indicators

    def ways(self, element: Element, truth: bool) -> list[Way]:
        """Conjunctions each of which would make an element non-zero, or zero."""
        return list(islice(self._ways(element, truth, 0), MAX_WAYS))

    def _operation(self, ref: Ref) -> Operation | None:
        at = ref.value - self.graph.first_operation
        return self.graph.operations[at] if at >= 0 else None

    def _ways(self, element: Element, truth: bool, depth: int) -> Iterator[Way]:
        ref, place = element
        o = self._operation(ref)
        if o is None or depth > MAX_DEPTH:
            yield from self._plainly(element, truth)
            return
        name = o.op.split(".")[1]
        if name in ("logical_not", "bitwise_not"):
            yield from self._ways(self._operand(o, 0, place), not truth, depth + 1)
        elif name in _CONDITIONS:
            parts = [self._operand(o, k, place) for k in (0, 1)]
            yield from self._joined(parts, truth, "and" in name, depth)
        elif name == "mul" and self._both_indicators(o):
            parts = [self._operand(o, k, place) for k in (0, 1)]
            yield from self._joined(parts, truth, True, depth)
        elif name in _HOLDS:
            yield from self._compared(o, name, place, truth, depth)
        elif name in ("any", "all", "prod", "amin", "amax") and isinstance(o.args[0], Ref):
            parts = [(o.args[0], k) for k in self._folded(o, place)]
            yield from self._joined(parts, truth, name in ("all", "prod", "amin"), depth)
        elif name == "_to_copy" and self._known(o.args[0]):
            yield from self._ways((o.args[0], place), truth, depth + 1)
        elif OPS[o.op].family == "structural" and self._known(ref):
            yield from self._ways(self._moved(ref, o, place), truth, depth + 1)
        else:
            yield from self._plainly(element, truth)

    def _plainly(self, element: Element, truth: bool) -> Iterator[Way]:
        """An element that is a number of its own."""
        for wanted in ("above", "below") if truth else ("at",):
            yield (Atom(element, 0.0, wanted),)

    def _joined(
        self, parts: list[Element], truth: bool, conjunction: bool, depth: int
    ) -> Iterator[Way]:
        """All parts, or any one of them."""
        if truth != conjunction:
            for part in parts:
                yield from self._ways(part, truth, depth + 1)
            return
        every = [list(islice(self._ways(p, truth, depth + 1), 3)) for p in parts]
        for choice in islice(product(*every), MAX_WAYS):
            way = tuple(atom for chosen in choice for atom in chosen)
            if len(way) <= MAX_ATOMS:
                yield way

    def _compared(
        self, o: Operation, name: str, place: int, truth: bool, depth: int
    ) -> Iterator[Way]:
        wanted = _HOLDS[name] if truth else _OPPOSITE[_HOLDS[name]]
        left, right = (self._operand(o, k, place) for k in (0, 1))
        counted = self._count(left)
        if counted and not isinstance(right, tuple):  # how many conditions hold
            for all_hold in (True, False):
                yield from self._joined(counted, all_hold, all_hold, depth)
        for one in ("above", "below") if wanted == "apart" else (wanted,):
            yield (Atom(left, right, one),)

    def _count(self, element: Element | float) -> list[Element]:
        """The conditions that an element counts, if it is a sum of indicators."""
        if not isinstance(element, tuple):
            return []
        ref, place = element
        o = self._operation(ref)
        if o is None:
            return []
        name = o.op.split(".")[1]
        if name == "sum" and o.args[0] in self.indicators:
            return [(o.args[0], k) for k in self._folded(o, place)]
        if name == "add" and self._both_indicators(o):
            return [e for k in (0, 1) if isinstance(e := self._operand(o, k, place), tuple)]
        return []

    def _both_indicators(self, o: Operation) -> bool:
        return all(isinstance(a, Ref) and a in self.indicators for a in o.args[:2])

    def _known(self, ref: Any) -> bool:
        return isinstance(ref, Ref) and (
            ref in self.indicators or self.types.of(ref).dtype == "bool"
        )

    # ---- where an element comes from -----------------------------------------------------------

    def _operand(self, o: Operation, k: int, place: int) -> Any:
        """The element of a pointwise operation's operand that meets an element of its result."""
        arg = o.args[k]
        if not isinstance(arg, Ref):
            return float(arg)
        number = next(
            n for n, other in enumerate(self.graph.operations, self.graph.first_operation)
            if other is o
        )  # fmt: skip
        out, own = self.types.values[number][0].shape, self.types.of(arg)
        if own.shape == out:
            return arg, place
        places = torch.arange(own.elements).reshape(own.shape).expand(out).reshape(-1)
        return arg, int(places[place])

    def _folded(self, o: Operation, place: int) -> list[int]:
        """The elements that a reduction folds into one."""
        own = self.types.of(o.args[0])
        rank = len(own.shape)
        given = o.args[1] if len(o.args) > 1 and type(o.args[1]) in (int, tuple) else None
        if type(given) is int:
            given = (given,)
        dims = [d % max(1, rank) for d in given] if given else list(range(rank))
        kept = [d for d in range(rank) if d not in dims]
        places = torch.arange(own.elements).reshape(own.shape).permute(*kept, *dims)
        width = 1
        for d in dims:
            width *= own.shape[d]
        return [int(k) for k in places.reshape(-1, width)[place]]

    def _moved(self, ref: Ref, o: Operation, place: int) -> Element:
        """The operand's element that a movement put at a place."""
        pool: list[Element] = []

        def numbered(operand: Ref) -> Any:
            own = self.types.of(operand)
            start = len(pool)
            pool.extend((operand, k) for k in range(own.elements))
            return torch.arange(start, len(pool)).reshape(own.shape).double()

        def one_row(arg: Any) -> Any:
            return arg.at(1) if hasattr(arg, "at") and not isinstance(arg, Ref) else arg

        args = [_built(map_refs(a, numbered), one_row) for a in o.args]
        made = operation_call(o.op)(*args)
        made = made if isinstance(made, torch.Tensor) else made[ref.out]
        return pool[int(made.reshape(-1)[place])]


def _built(arg: Any, change: Any) -> Any:
    if type(arg) is tuple:
        return [_built(a, change) for a in arg]
    return change(arg)
