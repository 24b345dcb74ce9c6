"""Bounds on the derivatives of every operation, on its operands' ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sandbox.graph import Ref
from sandbox.prover.domain import INF, Abstract
from sandbox.prover.registry import Results

_MODERATE = 1e12
"""Sizes whose squares and cubes, which some derivatives are computed by, float32 holds."""

_LEAST_SQUARE = 1e-37
"""Squares below it lose digits in float32, or become zero."""


@dataclass(frozen=True)
class At:
    """An operation with what is known of its operands."""

    name: str
    args: list[Any]
    named: dict[str, Any]
    values: Sequence[Results]
    number: int

    def known(self, k: int) -> Abstract | None:
        """What is known of an argument that is a value."""
        arg = self.args[k] if k < len(self.args) else None
        return self.values[arg.value][arg.out] if isinstance(arg, Ref) else None

    def size(self, k: int) -> float:
        """The largest absolute value of an argument; infinite where nothing bounds it."""
        x = self.known(k)
        return size_of(x) if x is not None else abs(float(self.args[k]))

    def least(self, k: int) -> float:
        """The smallest absolute value of an argument; zero where it may have either sign."""
        x = self.known(k)
        if x is None:
            return abs(float(self.args[k]))
        if x.is_unknown or bool(x.bad.any()):
            return 0.0
        apart = torch.maximum(x.value.lo, -x.value.hi)
        return max(0.0, float(apart.min())) if apart.numel() else INF

    def low(self, k: int) -> float:
        """The smallest value of an argument; minus infinity where nothing bounds it."""
        x = self.known(k)
        if x is None:
            return float(self.args[k])
        return float(x.value.lo.min()) if x.value.lo.numel() else INF

    def number_at(self, k: int, default: float) -> float:
        """An argument that is a plain number."""
        return float(self.args[k]) if k < len(self.args) and self.args[k] is not None else default

    def made(self) -> float:
        """The largest absolute value of the result."""
        return size_of(self.values[self.number][0])


def size_of(x: Abstract) -> float:
    if x.is_unknown or bool(x.bad.any()):
        return INF
    return float(x.value.size().max()) if x.value.lo.numel() else 0.0


_Bounds = Callable[[At], "float | tuple[float, ...]"]
BOUNDS: dict[str, _Bounds] = {}
"""By operation, bounds of the derivatives by each argument; one number where they are alike."""
REACHES: dict[str, Callable[[At], float]] = {
    "softplus": lambda at: math.exp(_softplus_reach(at)),  # times z, over z + 1
    "atan2": lambda at: max(at.size(0), at.size(1)),  # times the other operand, over the squares
}
"""By operation, the largest factor that its kernel has before it is divided again."""


def _constant(bound: float, names: str) -> None:
    BOUNDS.update({name: lambda at: bound for name in names.split()})


def _smooth(bound: float, names: str) -> None:
    BOUNDS.update(
        {name: lambda at: bound if at.size(0) <= _MODERATE else INF for name in names.split()}
    )


_constant(0.0, "floor ceil round trunc sign floor_divide")
_constant(
    1.0,
    "neg abs relu clamp clamp_min clamp_max hardtanh nan_to_num frac _to_copy where masked_fill "
    "fill maximum minimum sigmoid tanh sin cos hardsigmoid log_sigmoid_forward sum mean amax amin "
    "max min median logsumexp sort topk",
)
_smooth(1.6, "atan erf silu gelu mish hardswish")
_constant(2.0, "_softmax")
_constant(4.0, "linalg_vector_norm norm")  # it is divided by a norm of which squares underflowed


def _by(*names: str) -> Callable[[_Bounds], _Bounds]:
    def enter(bounds: _Bounds) -> _Bounds:
        BOUNDS.update(dict.fromkeys(names, bounds))
        return bounds

    return enter


# ---- two operands, and three ---------------------------------------------------------------------


@_by("add", "sub", "rsub")
def _sum(at: At) -> float:
    return max(1.0, abs(float(at.named.get("alpha", at.number_at(2, 1.0)))))


@_by("mul", "mm", "bmm", "mv", "dot")
def _product(at: At) -> tuple[float, ...]:
    return at.size(1), at.size(0)


@_by("addmm", "baddbmm")
def _plus_product(at: At) -> tuple[float, ...]:
    return 1.0, at.size(2), at.size(1)


@_by("div")
def _quotient(at: At) -> float | tuple[float, ...]:
    if at.named.get("rounding_mode") is not None:
        return 0.0
    least = at.least(1)
    return 1 / least, at.size(0) / (least * least)


@_by("remainder", "fmod")
def _remainder(at: At) -> tuple[float, ...]:
    return 1.0, at.size(0) / at.least(1) + 1


@_by("atan2")
def _angle(at: At) -> tuple[float, ...]:
    apart = at.least(0) ** 2 + at.least(1) ** 2
    if apart < 1e-24 or max(at.size(0), at.size(1)) > _MODERATE:
        return (INF,)
    return at.size(1) / apart, at.size(0) / apart


@_by("lerp")
def _lerp(at: At) -> tuple[float, ...]:
    return 1 + at.size(2), at.size(2), at.size(0) + at.size(1)


@_by("addcmul")
def _addcmul(at: At) -> tuple[float, ...]:
    scale = abs(float(at.named.get("value", 1)))
    return 1.0, scale * at.size(2), scale * at.size(1)


@_by("addcdiv")
def _addcdiv(at: At) -> tuple[float, ...]:
    scale, least = abs(float(at.named.get("value", 1))), at.least(2)
    if least * least < _LEAST_SQUARE:
        return (INF,)
    return 1.0, scale / least, scale * at.size(1) / (least * least)


# ---- one operand ---------------------------------------------------------------------------------


@_by("square")
def _square(at: At) -> float:
    return 2 * at.size(0)


@_by("exp", "exp2", "expm1")
def _exponential(at: At) -> float:
    return at.made() + 1


@_by("log", "log2", "log10")
def _logarithm(at: At) -> float:
    return 2 / max(0.0, at.low(0))


@_by("log1p")
def _logarithm_beside_one(at: At) -> float:
    return 1 / (1 + at.low(0)) if at.low(0) > -1 + 1e-6 else INF


@_by("sqrt")
def _root(at: At) -> float:
    return 1 / math.sqrt(max(0.0, at.low(0)))


@_by("rsqrt")
def _inverse_root(at: At) -> float:
    return at.made() ** 3


@_by("reciprocal")
def _inverse(at: At) -> float:
    return at.made() ** 2


@_by("asin", "acos")
def _arc(at: At) -> float:
    return 2 / math.sqrt(1 - at.size(0) ** 2) if at.size(0) < 1 - 1e-6 else INF


@_by("tan")
def _tangent(at: At) -> float:
    return 1 + at.made() ** 2


@_by("sinh", "cosh")
def _hyperbolic(at: At) -> float:
    return math.cosh(at.size(0))


@_by("elu")
def _elu(at: At) -> float:
    alpha, scale, inner = (abs(at.number_at(k, 1.0)) for k in (1, 2, 3))
    return scale * max(1.0, alpha * inner)


@_by("leaky_relu")
def _leaky(at: At) -> float:
    return max(1.0, abs(at.number_at(1, 0.01)))


@_by("softplus")
def _softplus(at: At) -> float:
    return 1.0 if _softplus_reach(at) <= 80 else INF


def _softplus_reach(at: At) -> float:
    """Up to the threshold it is an exponential over itself and one: that one's exponent."""
    return min(at.number_at(2, 20.0), at.number_at(1, 1.0) * at.size(0))


@_by("pow")
def _power(at: At) -> float | tuple[float, ...]:
    base, exponent = at.known(0), at.known(1)
    if base is None:
        return 0.0, at.made() * abs(math.log(at.size(0)))
    if exponent is None:
        p = float(at.args[1])
        if p == 0:
            return 0.0
        return abs(p) * (at.size(0) if p >= 1 else at.least(0)) ** (p - 1)
    low, p = at.low(0), at.size(1)
    reach = max(abs(math.log(low)), abs(math.log(at.size(0))))
    return p * math.exp((p + 1) * reach), at.made() * reach


# ---- along dimensions ----------------------------------------------------------------------------


def _count(at: At) -> int:
    x = at.known(0)
    return x.value.lo.numel() if x is not None else 1


@_by("cumsum", "_log_softmax")
def _running(at: At) -> float:
    return 1.0 + _count(at)


@_by("prod", "cumprod")
def _running_product(at: At) -> float:
    x = at.known(0)
    assert x is not None
    return _count(at) * (1 + float(x.value.size().clamp(min=1.0).prod()))


@_by("var", "std")
def _deviation(at: At) -> float:
    spread = at.values[at.number][0]
    correction = at.named.get("correction")
    left = _count(at) / spread.value.lo.numel() - (1.0 if correction is None else correction)
    bound = 5 * at.size(0) / left
    return bound if at.name == "var" else bound / max(0.0, float(spread.value.lo.min()))


@_by("native_layer_norm")
def _layer_norm(at: At) -> float:
    root = math.sqrt(at.number_at(4, 1e-5))
    most = 2.01 * at.size(0) / root
    return (2 + most * most) * (1.0 if at.args[2] is None else at.size(2)) / root
