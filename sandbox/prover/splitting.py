"""Split the box of inputs at the constants that a graph compares its state columns and Qs with.

Within a part the comparison is known, and so is what it chooses. A mask that is built of several
such comparisons by arithmetic (``m * a + (1 - m) * b``) is beyond what bounds alone can follow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompts.cards import TaskCard
from sandbox.graph import Arg, Batch, CreditGraph, Operation, Ref
from sandbox.inference import Types
from sandbox.prover.registry import Results
from sandbox.runtime import operation_call
from sandbox.table import OPS

MAX_PARTS = 81
"""Parts of the whole box."""

_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")

Range = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """Ranges of all inputs, ends included as float32 holds them."""

    state: tuple[Range, ...]
    whole: tuple[bool, ...]
    """Per state column: it holds whole numbers only."""
    agent_qs: tuple[Range, ...]

    @classmethod
    def of(cls, card: TaskCard) -> Box:
        """All states of a card, and all Qs up to its bound."""
        bound = card.q_bound()
        return cls(
            tuple(rounded_outward(*ends) for ends in card.column_intervals()),
            tuple(whole_columns(card)),
            (rounded_outward(-bound, bound),) * card.n_agents,
        )


def rounded_outward(low: float, high: float) -> Range:
    """A range widened by what float32 makes of its ends: an input of 1.001 is 1.00100005."""
    return min(low, float(np.float32(low))), max(high, float(np.float32(high)))


def whole_columns(card: TaskCard) -> list[bool]:
    """Per state column, whether it holds whole numbers only (sentinels included)."""
    return [
        s.unused
        or (s.kind != "real" and all(float(v).is_integer() for v in (s.low, s.high, *s.sentinels)))
        for s in card.state
        for _ in range(s.size)
    ]


def parts(
    graph: CreditGraph, types: Types, box: Box, values: Sequence[Results], *, agent_qs: bool,
    most: int = MAX_PARTS,
) -> list[Box]:  # fmt: skip
    """Parts that together are the box, split where the graph compares; one if it does not.

    Args:
        graph: gated.
        types: of its values.
        box: what is to be split.
        values: what is known of every value over the whole box, for the constants.
        agent_qs: split the Qs, too. Between parts of these q_tot may still fall.
        most: parts that can be afforded.
    """
    places = compared_with(graph, types, values)
    cuts: dict[int, list[Range]] = {}
    for column, found in places.items():
        if column >= len(box.state):
            if agent_qs:
                cuts[column] = _cut(box.agent_qs[column - len(box.state)], sorted(found), False)
        else:
            cuts[column] = _cut(box.state[column], sorted(found), box.whole[column])
    chosen, count = [], 1
    for column in sorted(cuts, key=lambda c: (len(cuts[c]), c)):
        if len(cuts[column]) > 1 and count * len(cuts[column]) <= min(most, MAX_PARTS):
            chosen.append(column)
            count *= len(cuts[column])
    return [
        _within(box, dict(zip(chosen, ranges, strict=True)))
        for ranges in itertools.product(*(cuts[c] for c in chosen))
    ]


def _within(box: Box, ranges: dict[int, Range]) -> Box:
    every = [ranges.get(c, r) for c, r in enumerate((*box.state, *box.agent_qs))]
    return replace(
        box, state=tuple(every[: len(box.state)]), agent_qs=tuple(every[len(box.state) :])
    )


def _cut(whole_range: Range, thresholds: list[float], whole: bool) -> list[Range]:
    """Ranges before, at and after each threshold; of float32's numbers, or of whole ones.

    The ends of the whole range are rounded outward, or its last numbers are in no part.
    """
    ranges = [whole_range]
    for t in thresholds:
        below, at, above = _neighbours(t, whole)
        low, high = ranges.pop()
        pieces = ((low, min(below, high)), (max(at, low), min(at, high)), (max(above, low), high))
        ranges += [piece for piece in pieces if piece[0] <= piece[1]]
    return ranges


def _neighbours(t: float, whole: bool) -> tuple[float, float, float]:
    """The largest input below a threshold, the one at or above it, and the one above that."""
    if whole:
        at = float(math.ceil(t))
        return at - 1, at, at + 1
    own = np.float32(t)
    below, above = np.nextafter(own, np.float32(-np.inf)), np.nextafter(own, np.float32(np.inf))
    return float(below), float(own), float(above)


# ---- where a graph compares ----------------------------------------------------------------------


def compared_with(
    graph: CreditGraph, types: Types, values: Sequence[Results]
) -> dict[int, set[float]]:
    """By input (state columns, then Qs), the constants that it is compared with as it is."""
    traced = _Traced(graph, types)
    found: dict[int, set[float]] = {}
    for o in graph.operations:
        if o.op.split(".")[1] in _COMPARISONS and len(o.args) == 2:
            for one, other in (o.args, o.args[::-1]):
                for column, limit in _pairs(traced.of(one), _constant(other, values)):
                    found.setdefault(column, set()).add(limit)
    return found


def _constant(arg: Arg, values: Sequence[Results]) -> Tensor | None:
    if not isinstance(arg, Ref):
        return torch.tensor(float(arg), dtype=torch.float64)
    x = values[arg.value][arg.out]
    middle = (x.value.lo + x.value.hi) / 2
    near = bool(((x.value.hi - x.value.lo) <= 1e-6 * (1 + middle.abs())).all())
    return middle if near and x.slope is None and not bool(x.bad.any()) else None


def _pairs(places: Tensor | None, limits: Tensor | None) -> Iterator[tuple[int, float]]:
    if places is None or limits is None:
        return
    columns, numbers = torch.broadcast_tensors(places, limits)
    for column, number in {
        *zip(columns.flatten().tolist(), numbers.flatten().tolist(), strict=True)
    }:
        if column >= 0 and math.isfinite(number):
            yield int(column), number


class _Traced:
    """Which input each element of a value is, as it is; -1 where it is none."""

    def __init__(self, graph: CreditGraph, types: Types) -> None:
        s, n = graph.state_dim, graph.n_agents
        self._graph, self._types = graph, types
        self._places: dict[int, tuple[Tensor, ...] | None] = {
            0: (torch.arange(s, s + n, dtype=torch.float64)[None],),
            1: (torch.arange(s, dtype=torch.float64)[None],),
        }
        for number, o in enumerate(graph.operations, graph.first_operation):
            self._places[number] = self._moved(o) if self._moves(o) else None

    def of(self, arg: Arg) -> Tensor | None:
        """The inputs in an operand's places, float64; None where there are none."""
        if not isinstance(arg, Ref):
            return None
        places = self._places.get(arg.value)
        return None if places is None else places[arg.out]

    def _moves(self, o: Operation) -> bool:
        if o.op == "aten._to_copy.default":
            kind = dict(o.kwargs).get("dtype")
            return kind is None or getattr(kind, "name", "") == "float"
        if OPS[o.op].family != "structural" or o.op == "aten.constant_pad_nd.default":
            return False
        return any(self.of(a) is not None for a in _flat(o.args))

    def _moved(self, o: Operation) -> tuple[Tensor, ...] | None:
        if o.op == "aten._to_copy.default":
            own = self.of(o.args[0])
            return None if own is None else (own,)

        def build(arg: Arg) -> Any:
            if isinstance(arg, Ref):
                own = self.of(arg)
                return torch.full(self._types.of(arg).shape, -1.0).double() if own is None else own
            if isinstance(arg, Batch):
                return arg.at(1)
            return [build(a) for a in arg] if type(arg) is tuple else arg

        made = operation_call(o.op)(*map(build, o.args), **{k: build(v) for k, v in o.kwargs})
        if o.op.split(".")[1] in ("tril", "triu", "diag_embed"):
            return None  # they put zeros in
        return tuple(made) if isinstance(made, list | tuple) else (made,)


def _flat(args: Sequence[Arg]) -> Iterator[Arg]:
    for arg in args:
        if type(arg) is tuple:
            yield from _flat(arg)
        else:
            yield arg
