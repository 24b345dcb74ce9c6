"""Values of expressions on drawn inputs, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sandbox.mathematics.terms import RELATIONS, Term, in_order

_F = torch.nn.functional
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{
        name: getattr(torch, name)
        for name in "exp log sqrt sin cos tan asin acos atan sinh cosh sigmoid tanh erf floor ceil "
        "round trunc sign expm1 exp2 log2 log10 frac isnan isinf atan2 fmod".split()
    },
    **{
        name: getattr(_F, name)
        for name in "silu gelu mish hardswish hardsigmoid softplus elu leaky_relu".split()
    },
    "|": torch.abs, "mod": torch.remainder, "^": torch.pow,
    "nan_to_num": torch.nan_to_num, "log_sigmoid": _F.logsigmoid,
    "gelu_tanh": functools.partial(_F.gelu, approximate="tanh"),
}  # fmt: skip
"""Functions of expressions; a further argument is a parameter, and a plain number."""


def evaluate(roots: Sequence[Term], symbols: dict[str, Tensor]) -> list[Tensor]:
    """Values of expressions, float64 ``[N]`` (conditions as 1 and 0).

    Raises:
        KeyError: a symbol has no value.
    """
    rows = len(next(iter(symbols.values())))
    values: dict[int, Tensor] = {}
    for term in in_order(roots):
        values[id(term)] = _value(term, [values[id(p)] for p in term.parts], symbols, rows).double()
    return [values[id(root)] for root in roots]


def _value(term: Term, parts: list[Tensor], symbols: dict[str, Tensor], rows: int) -> Tensor:
    kind = term.kind
    if kind == "symbol":
        return symbols[str(term.value)]
    if kind == "number":
        return torch.full((rows,), float(term.value), dtype=torch.float64)
    if kind == "sum":
        return sum((w * p for w, p in zip(term.weights, parts, strict=True)), torch.zeros(rows))
    if kind == "product":
        out = torch.ones(rows, dtype=torch.float64)
        for e, p in zip(term.weights, parts, strict=True):
            out = out * (p if e == 1 else p**e)
        return out
    if kind == "if":
        return torch.where(parts[0] != 0, parts[1], parts[2])
    if kind in RELATIONS:
        return _RELATION[kind](parts[0], parts[1])
    if kind in ("and", "or", "xor", "not"):
        truths = torch.stack(parts) != 0
        return {"and": truths.all(0), "or": truths.any(0), "not": ~truths[0]}.get(
            kind, truths.sum(0) % 2
        )
    return _called(kind, parts)


_RELATION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "=": torch.eq, "≠": torch.ne, "<": torch.lt, "≤": torch.le, ">": torch.gt, "≥": torch.ge,
}  # fmt: skip


def _called(name: str, parts: list[Tensor]) -> Tensor:
    if name in FUNCTIONS:
        extra = [p[0].item() for p in parts[1:]] if name in _WITH_PARAMETERS else parts[1:]
        return FUNCTIONS[name](parts[0], *extra)
    together = torch.stack(parts)
    if name == "logsumexp":
        return together.logsumexp(0)
    if name == "max":
        return together.amax(0)
    if name == "min":
        return together.amin(0)
    if name in ("argmax", "argmin"):
        return getattr(torch, name)(together, 0)
    if name in ("std", "var", "pstd", "pvar"):
        how = getattr(torch, name.removeprefix("p"))
        return how(together, dim=0, correction=0 if name.startswith("p") else 1)
    if name == "pick":
        return together[1:].gather(0, parts[0].long().clamp(0, len(parts) - 2)[None])[0]
    prefix, _, place = name.partition("softmax")
    made = together.log_softmax(0) if prefix == "log_" else together.softmax(0)
    return made[int(place)]


_WITH_PARAMETERS = ("softplus", "elu", "leaky_relu", "nan_to_num")
