"""Expressions in one line of Unicode each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sandbox.mathematics.terms import RELATIONS, Term, TooLargeError, in_order

MAX_TERMS = 6_000
"""Different expressions of one text."""

_LOGIC, _RELATION, _SUM, _PRODUCT, _POWER, _ATOM = range(6)


class Text:
    """Expressions in one line of Unicode each, parts that occur again named once."""

    def __init__(self, roots: Sequence[Term]) -> None:
        order = in_order(roots)
        if len(order) > MAX_TERMS:
            raise TooLargeError(f"it has over {MAX_TERMS:,} different expressions")
        uses = Counter(id(root) for root in roots)
        for term in reversed(order):
            for part in term.parts:
                uses[id(part)] += uses[id(term)] if _is_a_multiple(term) else 1
        self.shared = [t for t in order if uses[id(t)] > 1 and _is_worth_a_name(t)]
        self._names = {id(t): f"t{k}" for k, t in enumerate(self.shared)}

    def definitions(self) -> list[tuple[str, str]]:
        """Names of shared parts with what they stand for."""
        return [(self._names[id(t)], self._written(t, _LOGIC)) for t in self.shared]

    def of(self, term: Term, binding: int = _LOGIC) -> str:
        """An expression, in brackets where it binds less than what it stands in."""
        return self._names.get(id(term)) or self._written(term, binding)

    def _written(self, term: Term, binding: int) -> str:
        text, own = self._bare(term)
        return f"({text})" if own < binding else text

    def _bare(self, term: Term) -> tuple[str, int]:
        kind, parts = term.kind, term.parts
        if kind == "symbol":
            return str(term.value), _ATOM
        if kind == "number":
            return _short(term.value), _ATOM if float(term.value) >= 0 else _SUM
        if kind == "sum":
            return self._sum(term)
        if kind == "product":
            return self._product(term), _PRODUCT if len(parts) > 1 else _POWER
        if kind == "if":
            test = self.of(parts[0])
            return f"({self.of(parts[1])} if {test} else {self.of(parts[2])})", _ATOM
        if kind in RELATIONS:
            return f"{self.of(parts[0], _SUM)} {kind} {self.of(parts[1], _SUM)}", _RELATION
        if kind in ("and", "or", "xor"):
            return f" {kind} ".join(self.of(p, _RELATION) for p in parts), _LOGIC
        if kind == "not":
            return f"not {self.of(parts[0], _ATOM)}", _RELATION
        if kind == "|":
            return f"|{self.of(parts[0])}|", _ATOM
        if kind == "^":
            return f"{self.of(parts[0], _ATOM)}^{self.of(parts[1], _ATOM)}", _POWER
        return f"{kind}({', '.join(self.of(p) for p in parts)})", _ATOM

    def _sum(self, term: Term) -> tuple[str, int]:
        pieces: list[str] = []
        for weight, part in zip(term.weights, term.parts, strict=True):
            sign = "-" if weight < 0 else "+"
            size = abs(weight)
            if part.is_number:
                text = _short(size * float(part.value))
            else:
                text = _scaled(size, self.of(part, _PRODUCT))
            pieces.append(
                f"{'-' if sign == '-' else ''}{text}" if not pieces else f" {sign} {text}"
            )
        one = len(pieces) == 1
        return "".join(pieces), _PRODUCT if one and not pieces[0].startswith("-") else _SUM

    def _product(self, term: Term) -> str:
        above: list[str] = []
        below: list[str] = []
        for exponent, part in zip(term.weights, term.parts, strict=True):
            size = abs(exponent)
            text = self.of(part, _POWER if size == 1 else _ATOM)
            text = text if size == 1 else f"{text}^{_short(size)}"
            (above if exponent > 0 else below).append(text)
        top = "·".join(above) or "1"
        if not below:
            return top
        bottom = below[0] if len(below) == 1 else f"({'·'.join(below)})"
        return f"{top}/{bottom}"


def _is_a_multiple(term: Term) -> bool:
    """Whether an expression is a number times another."""
    return term.kind == "sum" and len(term.parts) == 1


def _is_worth_a_name(term: Term) -> bool:
    """Whether an expression is more than an input, a number, or a multiple of such."""
    if term.kind in ("symbol", "number") or _is_a_multiple(term):
        return False
    return not (term.kind == "|" and not term.parts[0].parts)


def _scaled(size: float, text: str) -> str:
    """A text times a positive number, which is a division where that is shorter."""
    if size == 1:
        return text
    parts = round(1 / size) if size > 1e-9 else 0
    if parts > 1 and 1 / parts == size and len(_short(size)) > 5:
        return f"{text}/{parts}"
    return f"{_short(size)}·{text}"


def _short(x: float | str) -> str:
    if type(x) is bool:
        return "true" if x else "false"
    number = float(x)
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e9 else f"{number:.6g}"
