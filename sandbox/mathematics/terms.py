"""Expressions that a person can read: built, and simplified a little.

Equal expressions are one object, so that shared parts are found by identity. Only what cannot
change a finite value is simplified: numbers are folded, sums and products are collected.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_DEPTH, MAX_PARTS = 60, 64
"""Nesting and number of parts of one expression: what is beyond them nobody reads."""
MAX_MADE = 20_000
"""Different expressions that are made for one function."""


class TooLargeError(ValueError):
    """There is no readable form: too large, or an operation without one."""


@dataclass(frozen=True, eq=False)
class Term:
    """One expression; compare by identity.

    ``kind`` is ``number``, ``symbol``, ``sum`` (of ``weights`` times parts), ``product`` (of parts
    to the power of their ``weights``), a relation (``=``, ``<``, ...), ``and``, ``or``, ``not``,
    ``if``, or the name of a function.
    """

    kind: str
    parts: tuple[Term, ...] = ()
    weights: tuple[float, ...] = ()
    value: float | str = 0.0
    depth: int = 1

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false."""
        return self.kind in _CONDITIONS or (self.kind == "number" and type(self.value) is bool)

    @property
    def is_number(self) -> bool:
        """Whether it is a plain number."""
        return self.kind == "number"


RELATIONS = ("=", "≠", "<", "≤", ">", "≥")
_CONDITIONS = (*RELATIONS, "and", "or", "not", "xor", "isnan", "isinf")


class Terms:
    """Makes expressions, each once."""

    def __init__(self) -> None:
        self._made: dict[object, Term] = {}

    def _one(
        self, kind: str, parts: Sequence[Term] = (), weights: Sequence[float] = (),
        value: float | str = 0.0,
    ) -> Term:  # fmt: skip
        order: object = (tuple(map(id, parts)), tuple(weights))
        if kind in ("sum", "product"):
            order = frozenset(zip(map(id, parts), weights, strict=True))
        key = (kind, order, type(value), repr(value))
        found = self._made.get(key)
        if found is None:
            depth = 1 + max((p.depth for p in parts), default=0)
            if depth > MAX_DEPTH:
                raise TooLargeError(f"an expression in it is over {MAX_DEPTH} levels deep")
            if len(parts) > MAX_PARTS:
                raise TooLargeError(f"an expression in it has over {MAX_PARTS} parts")
            if len(self._made) >= MAX_MADE:
                raise TooLargeError(f"it has over {MAX_MADE:,} different expressions")
            found = Term(kind, tuple(parts), tuple(weights), value, depth)
            self._made[key] = found
        return found

    def symbol(self, name: str) -> Term:
        """A named input."""
        return self._one("symbol", value=name)

    def number(self, x: float) -> Term:
        """A plain number, or a truth."""
        if type(x) is float and x.is_integer() and abs(x) < 1e15:
            x = int(x)
        return self._one("number", value=x)

    def value(self, x: Term) -> Term:
        """A condition as the number 1 or 0; anything else as it is."""
        if not x.is_condition:
            return x
        if x.is_number:
            return self.number(int(x.value))
        return self._one("if", (x, self.number(1), self.number(0)))

    def condition(self, x: Term) -> Term:
        """A number as the condition that it is not zero."""
        return x if x.is_condition else self.relation("≠", x, self.number(0))

    # ---- arithmetic ----------------------------------------------------------------------------

    def total(self, parts: Iterable[tuple[float, Term]]) -> Term:
        """The sum of weighted parts."""
        constant = 0.0
        weights: dict[Term, float] = {}
        for weight, part in parts:
            for w, p in self._summands(self.value(part)):
                if p.is_number:
                    constant += weight * w * float(p.value)
                else:
                    weights[p] = weights.get(p, 0.0) + weight * w
        kept = {p: w for p, w in weights.items() if w}
        if not kept:
            return self.number(constant)
        if constant:
            kept[self.number(1)] = constant
        if len(kept) == 1 and next(iter(kept.values())) == 1:
            return next(iter(kept))
        return self._one("sum", tuple(kept), tuple(kept.values()))

    @staticmethod
    def _summands(x: Term) -> Iterable[tuple[float, Term]]:
        return zip(x.weights, x.parts, strict=True) if x.kind == "sum" else ((1.0, x),)

    def add(self, a: Term, b: Term, weight: float = 1.0) -> Term:
        """a + weight * b."""
        return self.total(((1.0, a), (weight, b)))

    def multiply(self, a: Term, b: Term, power: float = 1.0) -> Term:
        """a * b ^ power. What stands above and below a line is not cancelled: it may be zero."""
        weight = 1.0
        powers: dict[tuple[Term, bool], float] = {}
        for factor, outer in ((self.value(a), 1.0), (self.value(b), power)):
            for w, exponent, part in self._factors(factor):
                weight *= _power(w, outer)
                if part is not None:
                    key = (part, exponent * outer > 0)
                    powers[key] = powers.get(key, 0.0) + exponent * outer
        if not math.isfinite(weight):
            raise TooLargeError("a number in it is beyond any use")
        if weight == 0:
            return self.number(0)
        if not powers:
            return self.number(weight)
        if list(powers.values()) == [1.0]:
            ((product, _),) = powers
        else:
            product = self._one("product", [p for p, _ in powers], list(powers.values()))
        return product if weight == 1 else self._one("sum", (product,), (weight,))

    @staticmethod
    def _factors(x: Term) -> Iterable[tuple[float, float, Term | None]]:
        """Weight, exponent and base of each factor."""
        if x.is_number:
            return ((float(x.value), 1.0, None),)
        if x.kind == "sum" and len(x.parts) == 1:
            inner = list(Terms._factors(x.parts[0]))
            return [(x.weights[0], 0.0, None), *inner]
        if x.kind == "product":
            return [(1.0, e, p) for e, p in zip(x.weights, x.parts, strict=True)]
        return ((1.0, 1.0, x),)

    def power(self, base: Term, exponent: Term) -> Term:
        """base ^ exponent; only whole powers are taken into products."""
        base, exponent = self.value(base), self.value(exponent)
        if exponent.is_number:
            e = float(exponent.value)
            if base.is_number:
                return self.number(_power(float(base.value), e))
            if e.is_integer() and 0 < e <= 16 and base.kind not in ("product", "sum"):
                return self.multiply(self.number(1), base, e)
            if e == 1:
                return base
        return self.call("^", base, exponent)

    def call(self, name: str, *args: Term) -> Term:
        """A function by its name; ``|`` is the absolute value."""
        if name == "|" and args[0].is_number:
            return self.number(abs(float(args[0].value)))
        return self._one(name, tuple(self.value(a) for a in args))

    # ---- conditions ----------------------------------------------------------------------------

    def relation(self, sign: str, a: Term, b: Term) -> Term:
        """A comparison."""
        a, b = self.value(a), self.value(b)
        if a.is_number and b.is_number:
            x, y = float(a.value), float(b.value)
            return self.number(
                {"=": x == y, "≠": x != y, "<": x < y, "≤": x <= y, ">": x > y, "≥": x >= y}[sign]
            )
        return self._one(sign, (a, b))

    def logic(self, name: str, *parts: Term) -> Term:
        """``and``, ``or``, ``xor`` or ``not`` of conditions."""
        flat: list[Term] = []
        for part in map(self.condition, parts):
            flat += part.parts if part.kind == name and name in ("and", "or") else [part]
        flat = list(dict.fromkeys(flat)) if name in ("and", "or") else flat
        if name in ("and", "or"):
            absorbing = name == "or"
            if any(p.is_number and p.value is absorbing for p in flat):
                return self.number(absorbing)
            flat = [p for p in flat if not p.is_number]
            if not flat:
                return self.number(not absorbing)
            if len(flat) == 1:
                return flat[0]
        if name == "not" and flat[0].is_number:
            return self.number(not flat[0].value)
        if name == "not" and flat[0].kind == "not":
            return flat[0].parts[0]
        return self._one(name, flat)

    def choose(self, condition: Term, a: Term, b: Term) -> Term:
        """a where the condition holds, else b."""
        condition = self.condition(condition)
        if condition.is_number:
            return a if condition.value else b
        if a is b:
            return a
        return self._one("if", (condition, self.value(a), self.value(b)))


def _power(base: float, exponent: float) -> float:
    try:
        made = base**exponent
    except (OverflowError, ZeroDivisionError):
        raise TooLargeError("a number in it is beyond any use") from None
    if isinstance(made, complex):
        raise TooLargeError("a root in it is of a negative number")
    return made


def in_order(roots: Sequence[Term]) -> list[Term]:
    """Every expression below some, parts before what they are parts of."""
    order: list[Term] = []
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        term, ready = stack.pop()
        if ready:
            order.append(term)
        elif id(term) not in seen:
            seen.add(id(term))
            stack.append((term, True))
            stack.extend((p, False) for p in reversed(term.parts))
    return order
