"""Is float32's rounding small beside what the Qs do, in every state by itself?

A bound on rounding over all states together lets one state pay for another: where a weight is next
to nothing, rounding may be most of what is left of q_tot. So values are judged one by one, from the
Qs to q_tot. Where a Q rises, a value falls by no more than

- a thousandth of what that Q does to it over its range in the same state: by its rounding in
  total, which is held against the state and the Q that do least; and
- some last bits of what the Qs together do to it in that state, and of what was added to that; and
- its ``noise``, an absolute bound that is carried on to q_tot.

A value has no noise where every step to it rises or falls with each Q in float32, too, or where its
rounding in total is small. One that combines others, no two of whose paths from an agent's Q oppose
each other, carries theirs on. What is added up to a large number and taken away again leaves the
last bits of that number as noise. Every other value's rounding in total is noise: that of opposing
paths (``1000.001 * q - 1000 * q``) which leave too little, or of terms that cancel altogether.

In q_tot noise may be a millionth of the Qs' own range. Where a value behind opposing paths meets a
limit or a curve that the state moves (``torch.minimum(v, cap(state))``), its rounding is held
against what the limit leaves of it between the least Qs and the greatest, in the worst state.
One file above 400 lines, since each of these bounds rests on the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sandbox.graph import Arg, CreditGraph, Operation, Ref, refs_of
from sandbox.inference import Types
from sandbox.prover.domain import INF, Abstract
from sandbox.prover.gradients import carried, errors, moving_values
from sandbox.prover.registry import Results
from sandbox.prover.walk import TRUSTED
from sandbox.table import OPS

_SUMS = ("add", "sub", "rsub", "sum", "mean", "cumsum", "scatter_add")
_PRODUCTS = ("mul", "mm", "bmm", "mv", "dot", "addmm", "baddbmm")
_ADDING = (
    *_SUMS, *"mm bmm mv dot addmm baddbmm index_put lerp addcmul addcdiv".split()
)  # fmt: skip
_CHOICES = (
    "where maximum minimum clamp clamp_min clamp_max amax amin max min median sort topk masked_fill"
).split()
"""Each result is one of the operands, or lies beside one."""
_ENDS = ("amax", "amin", "max", "min", "maximum", "minimum", "logsumexp")
"""Where all operands rise, each result rises as far as the least of them."""
_UNEVEN = ("logsumexp", "log_sigmoid_forward", "_log_softmax")
"""A largest value and a logarithm, rounded apart and added: the result may fall by a last bit."""
_MIXTURES = ("logsumexp", "linalg_vector_norm", "norm", "prod")
"""They rise with terms that rise (of a norm and a product: with those that are not negative)."""
_FROM_NOTHING = (
    "abs relu leaky_relu elu celu selu tanh atan asinh sinh erf expm1 sqrt square"
).split()
"""Curves that make nothing of nothing."""
_ONE_FROM_NOTHING = "exp sigmoid softplus log_sigmoid_forward gelu silu hardsigmoid erfc".split()
"""Curves that make 1 of it at most, where nothing else is given."""
_PUTS = ("scatter", "put", "fill", "pad")
"""In names of operations that move elements and are given some, too."""
_MOVES = ("structural", "indexed", "create")
_STEEP = 0.02
"""Rounding behind a curve, relative to its range. The bound is taken where values are largest, and
curves bend where they are small."""
_BOUNDED = ("sigmoid", "tanh", "atan", "erf", "hardsigmoid")
_NOISE = 2.0**-20
"""Most noise in q_tot, relative to the Qs' ranges and to what they do at most."""
_LAST_BITS = 2.0**-22
_LEFT = 4 * TRUSTED
"""Rounding behind a limit, relative to what is left there; its bound is four times what a single
rounding can be."""

Ends = Callable[[], Sequence[Sequence[Results]]]
"""What is known of every value in float32 where all Qs are least, and where all are greatest."""


def keeps_directions(
    graph: CreditGraph,
    types: Types,
    rounded: Sequence[Results],
    real: Sequence[Results],
    wide: Sequence[Results],
    widths: Sequence[float],
    ends: Ends,
) -> bool:
    """Whether rounding is small beside what the Qs do to q_tot, in every state.

    Args:
        graph: gated.
        types: of its values.
        rounded: what is known of every value in float32.
        real: the same over the reals.
        wide: the same, where every value may be float32's, too.
        widths: of each agent's range of Q.
        ends: of the same ranges; only asked for where it counts.
    """
    judge = _Judge(graph, types, rounded, real, wide, torch.tensor(widths).double(), ends)
    return judge.keeps(graph.outputs["q_tot"].value)


@dataclass
class _Judge:
    graph: CreditGraph
    types: Types
    rounded: Sequence[Results]
    real: Sequence[Results]
    wide: Sequence[Results]
    widths: Tensor
    ends: Ends
    noise: list[float] = field(default_factory=list)
    """Of every value; infinite where nothing is known."""
    added: list[float] = field(default_factory=list)
    """How large what depends on no Q is in every value, at most, where it was added."""
    moved: dict[int, float] = field(default_factory=dict)
    uneven: set[int] = field(default_factory=set)
    """Values with opposing paths before them."""
    unsettled: set[int] = field(default_factory=set)
    """Those that need not rise or fall with each Q in float32."""

    def __post_init__(self) -> None:
        self.errors = errors(self.graph, self.types, self.rounded)
        self.moving = moving_values(self.graph, self.types)
        self.at_ends = functools.cache(self.ends)

    def keeps(self, last: int) -> bool:
        """Judge every value up to one that depends on a Q; whether that one keeps its direction."""
        self.noise, self.added = [0.0] * (last + 1), [0.0] * (last + 1)
        for number in range(last + 1):
            self.moved[number] = self._least_moved(number)
            if number >= self.graph.first_operation:
                self.added[number] = self._added(number)
                if not all(map(_is_settled, self.rounded[number])):
                    self.unsettled.add(number)
                    self.noise[number] = self._noise(number)
        slope = self.wide[last][0].slopes(len(self.widths))
        small = self.errors[last] <= TRUSTED / 2 * self.moved[last]
        most = min(self._most_moved(last), float(self.widths.sum()))
        return self.noise[last] <= _NOISE * most and (bool((slope.lo >= 0).all()) or small)

    def _noise(self, number: int) -> float:
        """Of a value that depends on a Q and need not rise or fall in float32."""
        operation = self.graph.operations[number - self.graph.first_operation]
        stands_out = self.errors[number] <= TRUSTED / 2 * self._least_own(number)
        alike = self._combines(number)
        behind = any(r.value in self.uneven for r in refs_of(operation))
        if behind or not alike or operation.op.split(".")[1] in _UNEVEN:
            self.uneven.add(number)
        if stands_out or not alike:
            return 0.0 if stands_out else self.errors[number]
        return self._carried(number, self.noise) + self._lost(number)

    def _carried(self, number: int, amounts: Sequence[float]) -> float:
        args = self.graph, self.types, self.rounded, number, self.moving
        try:
            return carried(*args, amounts)
        except (ArithmeticError, ValueError):
            return INF

    def _added(self, number: int) -> float:
        """How large what depends on no Q is in a value, at most.

        It is what is left where all Qs are 0, and so never more than the value itself.
        """
        if number not in self.moving:
            return 0.0
        operation = self.graph.operations[number - self.graph.first_operation]
        name, family = operation.op.split(".")[1], OPS[operation.op].family
        size, moving = self._size(number), [r for r in refs_of(operation) if not self._is_still(r)]
        alone = len(moving) == 1 and (name != "div" or _is_dividend(operation, moving[0]))
        linear = name in ("neg", "div") and alone
        bent = name in (*_FROM_NOTHING, *_ONE_FROM_NOTHING) and alone and self._meets(moving[0])
        follows = linear or bent or name in (*_SUMS, *_PRODUCTS, *_CHOICES) or family in _MOVES
        plain = name not in _ONE_FROM_NOTHING or len(operation.args) == 1
        if not follows or not plain or _scales(operation, name) or _adds_up(operation, name):
            return size
        own = float(name in _ONE_FROM_NOTHING)
        if not (linear or bent):
            own = sum(self._sizes_of_still(operation))
        return min(size, self._carried(number, self.added) + own)

    def _meets(self, ref: Ref) -> bool:
        """Whether nothing is between a value's ends, so that a slope there bounds a curve's way."""
        lo, hi = self.rounded[ref.value][ref.out].value
        return bool(((lo <= 0) & (hi >= 0)).all())

    def _size(self, number: int) -> float:
        return max(float(x.value.size().max()) for x in self.rounded[number])

    def _sizes_of_still(self, operation: Operation) -> list[float]:
        """Of what is added up in an operation and depends on no Q: operands, and their elements."""
        found = []
        name = operation.op.split(".")[1]
        product = name in _PRODUCTS
        for k, ref in enumerate(refs_of(operation)):
            still = self._of(ref).independent()
            factor = product and bool(still.all()) and (k or name not in ("addmm", "baddbmm"))
            if factor or not self._is_float(ref):
                continue
            size = self.rounded[ref.value][ref.out].value.size()
            found.append(float(size[still].max()) if bool(still.any()) else 0.0)
        if product:
            sizes = [self.rounded[r.value][r.out].value.size() for r in refs_of(operation)]
            return [x * float(max(map(torch.max, sizes))) for x in found]
        if OPS[operation.op].family in _MOVES and not any(word in name for word in _PUTS):
            return found  # numbers are places and sizes
        given = (*operation.args, *(x for _, x in operation.kwargs))
        return [*found, *(abs(float(x)) for x in given if type(x) in (int, float))]

    def _lost(self, number: int) -> float:
        """Last bits of what was added on the way to a sum, and may be taken away in it."""
        operation = self.graph.operations[number - self.graph.first_operation]
        name = operation.op.split(".")[1]
        if name not in _ADDING:
            return 0.0
        moving = [r for r in refs_of(operation) if not self._is_still(r)]
        if not any(r.value in self.unsettled for r in moving):
            return 0.0
        if name in ("add", "sub", "rsub") and not _scales(operation, name):
            of = [self.added[r.value] for r in moving]
            of += self._sizes_of_still(operation)
            return _LAST_BITS * 2 * sorted([0.0, 0.0, *of])[-2]
        terms = max(t.elements for r in moving for t in self.types.values[r.value])
        most = max([self.added[r.value] for r in moving] + self._sizes_of_still(operation))
        if most and name not in (*_SUMS, *_PRODUCTS):
            most = max(most, self._size(number))
        return _LAST_BITS * terms * terms * most

    def _least_own(self, number: int) -> float:
        """How far one agent's Q moves a value's elements, at least, in any one state.

        Of those that it moves in float32: where paths cancel altogether it moves them by nothing.
        """
        least = INF
        pairs = zip(self.real[number], self.rounded[number], strict=True)
        for (x, computed), of in zip(pairs, self.types.values[number], strict=True):
            if of.dtype != "float":
                continue
            slope, touched = (y.slopes(len(self.widths)) for y in (x, computed))
            moving = (touched.lo != 0) | (touched.hi != 0)
            sure = torch.maximum(slope.lo, -slope.hi).clamp(min=0.0).movedim(0, -1) * self.widths
            own = sure[moving.movedim(0, -1) & (self.widths > 0)]
            least = min(least, float(own.min())) if own.numel() else least
        return least

    def _most_moved(self, number: int) -> float:
        """How far the Qs move a value's elements, at most."""
        most = 0.0
        for x in self.real[number]:
            size = x.slopes(len(self.widths)).size().movedim(0, -1) * self.widths
            most = max(most, float(size.sum(-1).max()))
        return most

    def _least_moved(self, number: int) -> float:
        """How far the Qs move a value's moving elements, at least, in any one state."""
        least = INF
        for x, of in zip(self.real[number], self.types.values[number], strict=True):
            moving = ~x.independent()
            if of.dtype != "float" or not bool(moving.any()):
                continue
            slope = x.slopes(len(self.widths))
            sure = torch.maximum(slope.lo, -slope.hi).clamp(min=0.0).movedim(0, -1)
            least = min(least, float((sure * self.widths).sum(-1)[moving].min()))
        derived = number >= self.graph.first_operation
        return max(least, self._least_chosen(number)) if derived and least < INF else least

    def _least_chosen(self, number: int) -> float:
        """The same of one that lies among its operands, which all move one way: as far as they."""
        operation = self.graph.operations[number - self.graph.first_operation]
        name, family = operation.op.split(".")[1], OPS[operation.op].family
        moving = [r for r in refs_of(operation) if not self._is_still(r)]
        least = min((self.moved[r.value] for r in moving), default=0.0)
        if family == "structural":
            return least
        among = list(map(self._of, moving))
        if any(bool(x.independent().any()) for x in among):
            return 0.0
        if name == "lerp":
            chosen = len(moving) == 2 and self._is_between(operation)
        else:
            terms = 2 if family == "pointwise" else 1
            chosen = name in _ENDS and len(moving) == terms
        return least if chosen and self._agree(operation, name) else 0.0

    def _combines(self, number: int) -> bool:
        """Whether an operation combines values that keep their directions, none against another."""
        operation = self.graph.operations[number - self.graph.first_operation]
        name, family = operation.op.split(".")[1], OPS[operation.op].family
        moving = [r for r in refs_of(operation) if not self._is_still(r)]
        if family in _MOVES and not _adds_up(operation, name):
            return all(self._is_float(r) for r in moving)
        alone = family == "pointwise" and len(moving) == 1
        if alone and (name in _SUMS or name == "mul" or _is_dividend(operation, moving[0])):
            return True
        if name == "lerp":
            return self._is_between(operation) and self._agree(operation, name)
        if name in (*_SUMS, *_PRODUCTS, "index_put"):
            linear = name not in _PRODUCTS or len(moving) == 1
            return self._agree(operation, name) and (linear or self._is_fine(number))
        if name in _UNEVEN and not self._shows(number, moving):
            return False
        if name in _MIXTURES:
            positive = name == "logsumexp" or self._bounds(moving[0])[0] >= 0
            return positive and self._agree(operation, name) and self._is_fine(number)
        if name in ("where", "masked_fill") and not any(map(self._is_condition, moving)):
            return True  # in any one state it is one of them
        return (alone or name in _CHOICES) and self._is_fine(number)

    def _is_between(self, operation: Operation) -> bool:
        """Whether ``lerp`` takes a weight from 0 to 1 that depends on no Q."""
        weight = operation.args[2]
        low, high = self._bounds(weight)
        still = not isinstance(weight, Ref) or self._is_still(weight)
        return still and 0 <= low <= high <= 1

    def _shows(self, number: int, moving: Sequence[Ref]) -> bool:
        """Whether a value's rounding is small beside how far the Qs move its operands, at least."""
        least = min((self.moved[r.value] for r in moving), default=0.0)
        return self.errors[number] <= TRUSTED / 2 * least

    def _is_fine(self, number: int) -> bool:
        """Whether a value's rounding is small beside its range over all states.

        A curve may be so steep that a rounding error before it is a step behind it. Behind opposing
        paths it must be small beside what the Qs do to it in every state.
        """
        value = self.rounded[number][0].value
        if not self.errors[number] <= _STEEP * float((value.hi - value.lo).max()):
            return False
        operation = self.graph.operations[number - self.graph.first_operation]
        if not any(r.value in self.uneven for r in refs_of(operation)):
            return True
        share = _STEEP if operation.op.split(".")[1] in _BOUNDED else _LEFT
        return self.errors[number] <= share * self._left(number)

    def _left(self, number: int) -> float:
        """How far a value's elements rise or fall, at least, from the least Qs to the greatest.

        Of those that do neither with every Q nothing is said: q_tot rises with all Qs, so that
        others are added to them before, and there the difference of both counts.
        """
        least = INF
        for k, x in enumerate(self.real[number]):
            low, high = (every[number][k].value for every in self.at_ends())
            slope = x.slopes(len(self.widths))
            moving = ~x.independent()
            up, down = (slope.lo >= 0).all(0) & moving, (slope.hi <= 0).all(0) & moving
            rises, drops = (high.lo - low.hi)[up], (low.lo - high.hi)[down]
            least = min([least, *(float(part.min()) for part in (rises, drops) if part.numel())])
        return least

    def _of(self, ref: Ref) -> Abstract:
        return self.real[ref.value][ref.out]

    def _bounds(self, arg: Arg) -> tuple[float, float]:
        """Of an operand in float32, which may be a number."""
        if not isinstance(arg, Ref):
            own = float(arg) if isinstance(arg, int | float) else math.nan
            return own, own
        value = self.rounded[arg.value][arg.out].value
        return float(value.lo.min()), float(value.hi.max())

    def _is_float(self, ref: Ref) -> bool:
        return self.types.of(ref).dtype == "float"

    def _is_condition(self, ref: Ref) -> bool:
        return self.types.of(ref).dtype == "bool"

    def _is_still(self, ref: Ref) -> bool:
        return bool(self._of(ref).independent().all())

    def _agree(self, operation: Operation, name: str) -> bool:
        """Whether each agent's Q moves all terms of a sum one way, as far as signs show it."""
        args = operation.args
        terms: list[tuple[Tensor, Tensor]] = []
        for k, arg in enumerate(args):
            if not isinstance(arg, Ref) or self._is_still(arg):
                continue
            slope = self.wide[arg.value][arg.out].slopes(len(self.widths))
            lo, hi = slope.lo.flatten(1).amin(1), slope.hi.flatten(1).amax(1)
            low, high = self._factor(operation, name, k)
            if not (low >= 0 or high <= 0):
                return False
            terms.append((lo, hi) if low >= 0 else (-hi, -lo))
        if not terms:
            return False
        least = torch.stack([lo for lo, _ in terms]).amin(0)
        most = torch.stack([hi for _, hi in terms]).amax(0)
        return bool(((least >= 0) | (most <= 0)).all())

    def _factor(self, operation: Operation, name: str, k: int) -> tuple[float, float]:
        """Bounds of what an operand is multiplied with on the way into the sum."""
        args, named = operation.args, dict(operation.kwargs)
        if name in _PRODUCTS:
            plus = name in ("addmm", "baddbmm")
            if named.get("alpha", 1) != 1 or named.get("beta", 1) != 1:
                return -1.0, 1.0
            if plus and k == 0:
                return 1.0, 1.0
            other = args[k ^ 1] if not plus else args[3 - k]
            return self._bounds(other)
        scalar = args[2] if name in ("add", "sub", "rsub") and len(args) > 2 else 1
        alpha = self._bounds(named.get("alpha", scalar))[0]
        away = (name == "sub" and k == 1) or (name == "rsub" and k == 0)
        own = -alpha if away else alpha if k == 1 and name != "rsub" else 1.0
        return own, own


def _scales(operation: Operation, name: str) -> bool:
    """Whether a sum multiplies an operand with a number (``alpha``, ``beta``)."""
    numbers = operation.args[2:] if name in ("add", "sub", "rsub") else ()
    named = any(key in ("alpha", "beta") for key, _ in operation.kwargs)
    return name in _ADDING and (bool(numbers) or named)


def _adds_up(operation: Operation, name: str) -> bool:
    """Whether an operation that moves elements adds those up that meet at a place."""
    if name == "index_put":
        args, _ = OPS[operation.op].positioned(operation.args, dict(operation.kwargs))
        return len(args) > 3 and bool(args[3])
    return name == "scatter_add"


def _is_dividend(operation: Operation, ref: Ref) -> bool:
    return operation.op in ("aten.div.Tensor", "aten.div.Scalar") and operation.args[0] == ref


def _is_settled(x: Abstract) -> bool:
    """Whether no element of a value may go both ways with an agent's Q in float32."""
    if x.slope is None:
        return True
    return not bool(((x.slope.lo < 0) & (x.slope.hi > 0)).any())
