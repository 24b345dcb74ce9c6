"""Follow ``where(x > 0, a / x, b)``: a branch only counts where its condition holds.

A condition that compares some value with another bounds that value wherever the branch is taken.
The pointwise operations between the value and the branch are replayed with the tighter bounds: they
work element by element and align by broadcasting as the choice does, so an element of the branch is
chosen exactly where its own element of the value satisfies the comparison.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator

import torch

from sandbox.graph import Operation, Ref, refs_of
from sandbox.prover.domain import Abstract, Interval
from sandbox.prover.registry import Results
from sandbox.prover.walk import Walk
from sandbox.table import OPS

MAX_REPLAYED = 40
"""Operations that are replayed for one branch."""
MAX_VISITED = 400
"""Operations that are looked at on the way back from one branch; 20 cost as much as one step."""
MAX_COMPARISONS = 8
"""Comparisons of one condition that are used."""

_NEGATED = {"gt": "le", "ge": "lt", "lt": "ge", "le": "gt", "eq": "ne", "ne": "eq"}
_SWAPPED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}
_BOTH_HOLD = {"logical_and", "bitwise_and"}
_NEITHER_HOLDS = {"logical_or", "bitwise_or"}
_EXACT32 = 2.0**24

Comparison = tuple[int, str, Abstract]


def follow_guards(walk: Walk, number: int, plain: Results) -> Results:
    """The results of an operation, tighter than ``plain`` where it chooses by a comparison."""
    operation = walk.operation(number)
    if operation is None or plain[0].is_unknown or not walk.budget.left:
        return plain
    places = _branches(operation)
    if places is None:
        return plain
    condition, taken, other = places
    if taken == other or not isinstance(condition, Ref):
        return plain
    instead: dict[int, Results] = {}
    for branch, holds in ((taken, True), (other, False)):
        if isinstance(branch, Ref) and not branch.out and branch.value != condition.value:
            replayed = _replay(walk, branch.value, _bounds(walk, condition, holds))
            if replayed is not None:
                instead[branch.value] = replayed
    return walk.step(number, ChainMap(instead, walk.values)) if instead else plain


def _branches(operation: Operation) -> tuple[object, object, object] | None:
    """Condition, what is taken where it holds, and what elsewhere."""
    name, args = operation.op.split(".")[1], operation.args
    if len(args) != 3:
        return None
    if name == "where":
        return args[0], args[1], args[2]
    return (args[1], args[2], args[0]) if name == "masked_fill" else None


def _bounds(walk: Walk, condition: Ref, holds: bool) -> dict[int, Results]:
    """Values with the bounds that a condition, or its opposite, puts on them."""
    tighter: dict[int, Results] = {}
    for count, (value, relation, limit) in enumerate(_comparisons(walk, condition, holds)):
        if count == MAX_COMPARISONS:
            break
        first, *others = tighter.get(value, walk.values[value])
        tighter[value] = (_bounded(first, relation, limit), *others)
    return tighter


def _comparisons(walk: Walk, condition: Ref, holds: bool, depth: int = 0) -> Iterator[Comparison]:
    operation = walk.operation(condition.value)
    if operation is None or depth > 4:
        return
    name = operation.op.split(".")[1]
    inner = [a for a in operation.args if isinstance(a, Ref)]
    if name in ("logical_not", "bitwise_not"):
        yield from _comparisons(walk, inner[0], not holds, depth + 1)
    elif name in (_BOTH_HOLD if holds else _NEITHER_HOLDS):
        for part in inner:
            yield from _comparisons(walk, part, holds, depth + 1)
    elif name in _NEGATED and len(operation.args) == 2:
        relation = name if holds else _NEGATED[name]
        left, right = operation.args
        yield from _one_side(walk, left, relation, right)
        yield from _one_side(walk, right, _SWAPPED[relation], left)


def _one_side(walk: Walk, value: object, relation: str, limit: object) -> Iterator[Comparison]:
    """A comparison as a bound on one of its sides, if that side may be bounded by it."""
    if not isinstance(value, Ref) or value.out or (isinstance(limit, Ref) and limit.out):
        return
    x = walk.values[value.value][0]
    bound = walk.abstract(limit)
    if x.is_unknown or bound is None or bound.is_unknown or bool(bound.bad.any()):
        return
    trusted = walk.holds_rounded(value.value)
    if not trusted or (isinstance(limit, Ref) and not walk.holds_rounded(limit.value)):
        return
    if torch.broadcast_shapes(x.shape, bound.shape) != x.shape:
        return
    is_float = walk.types.values[value.value][0].dtype == "float"
    if not is_float and bool((x.value.size() > _EXACT32).any()):
        return  # float32 compares large whole numbers only roughly
    yield value.value, relation, bound


def _bounded(x: Abstract, relation: str, limit: Abstract) -> Abstract:
    """``x`` where it stands in a relation to ``limit``; as it was where it never does."""
    lo, hi = x.value
    least, most = limit.value
    if relation in ("gt", "ge", "eq"):
        beyond = torch.where(
            x.whole, least.floor() + 1 if relation == "gt" else least.ceil(), least
        )
        lo = torch.maximum(lo, beyond)
    if relation in ("lt", "le", "eq"):
        below = torch.where(x.whole, most.ceil() - 1 if relation == "lt" else most.floor(), most)
        hi = torch.minimum(hi, below)
    if relation == "ne":
        one = x.whole & (least == most)
        lo = torch.where(one & (lo == least), lo + 1, lo)
        hi = torch.where(one & (hi == most), hi - 1, hi)
    never = lo > hi
    value = Interval(torch.where(never, x.value.lo, lo), torch.where(never, x.value.hi, hi))
    return Abstract(value, x.slope, x.curved, x.bad, x.nan, x.whole, x.batch_axis)


def _replay(walk: Walk, branch: int, tighter: dict[int, Results]) -> Results | None:
    """A branch's abstract value under tighter bounds; None where they do not reach it."""
    if branch in tighter:
        return tighter[branch]
    reached = _between(walk, branch, tighter)
    if not reached or len(reached) > MAX_REPLAYED:
        return None
    values: ChainMap[int, Results] = ChainMap(dict(tighter), walk.values)
    for number in sorted(reached):
        values[number] = walk.step(number, values)
    return values[branch]


def _between(walk: Walk, branch: int, tighter: dict[int, Results]) -> set[int]:
    """Pointwise operations on the way from the bounded values to a branch."""
    seen: dict[int, bool] = {}

    def leads(number: int, depth: int) -> bool:
        if number in tighter:
            return True
        if number not in seen and len(seen) < MAX_VISITED:
            seen[number] = False
            operation = walk.operation(number)
            if operation is not None and depth < MAX_REPLAYED and _is_pointwise(operation):
                found = [leads(r.value, depth + 1) for r in refs_of(operation) if not r.out]
                seen[number] = any(found)
        return seen.get(number, False)

    leads(branch, 0)
    walk.budget.spent += len(seen) // 20
    return {number for number, leading in seen.items() if leading}


def _is_pointwise(operation: Operation) -> bool:
    return OPS[operation.op].family == "pointwise" and not any(r.out for r in refs_of(operation))
