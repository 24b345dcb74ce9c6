"""Operations with one output element from the input elements at its place."""

from __future__ import annotations

from sandbox.table.registry import Cast, Finite, Number, Operand, Text, operation
from sandbox.table.tensors import (
    DType,
    TensorType,
    broadcast,
    category,
    holds,
    promote,
    refuse,
    shown,
)


def _dtype(x: TensorType | float) -> DType:
    return x.dtype if isinstance(x, TensorType) else category(x)


def _joined(*operands: TensorType | float | None) -> TensorType:
    """Broadcast shape and promoted dtype; absent operands left out."""
    given = [x for x in operands if x is not None]
    tensors = [x for x in given if isinstance(x, TensorType)]
    shape, axis = broadcast(tensors)
    return TensorType(promote(*map(_dtype, given)), shape, axis)


def _no_truths(x: TensorType, what: str) -> TensorType:
    if x.dtype == "bool":
        raise refuse(f"{what} of conditions (bool): use `.float()` first")
    return x


def _floats(x: TensorType, name: str = "the operand") -> TensorType:
    if x.dtype != "float":
        raise refuse(f"{name} must be a float tensor, not {x.dtype}: use `.float()`")
    return x


# ---- one operand ---------------------------------------------------------------------------------


@operation(
    "neg.default abs.default sign.default relu.default square.default floor.default ceil.default "
    "round.default trunc.default",
    "pointwise",
)
def _kept(self: TensorType) -> TensorType:
    return _no_truths(self, "this")


@operation("frac.default", "pointwise")
def _frac(self: TensorType) -> TensorType:
    return _floats(self)


@operation("logical_not.default isnan.default isinf.default", "pointwise")
def _truth(self: TensorType) -> TensorType:
    return self.but("bool")


@operation("bitwise_not.default", "pointwise")
def _bitwise_not(self: TensorType) -> TensorType:
    if self.dtype == "float":
        raise refuse("bits of a float tensor: `~` is for conditions")
    return self


@operation(
    "sigmoid.default tanh.default exp.default expm1.default exp2.default log.default log1p.default "
    "log2.default log10.default sqrt.default rsqrt.default reciprocal.default sin.default "
    "cos.default tan.default asin.default acos.default atan.default sinh.default cosh.default "
    "erf.default",
    "pointwise",
    cost=8,
)
def _curve(self: TensorType) -> TensorType:
    return self.but("float")


@operation("silu.default hardsigmoid.default hardswish.default mish.default", "pointwise", cost=8)
def _activation(self: TensorType) -> TensorType:
    return _floats(self)


@operation("gelu.default", "pointwise", cost=8)
def _gelu(self: TensorType, *, approximate: Text = "none") -> TensorType:
    if approximate not in ("none", "tanh"):
        raise refuse("'approximate' is none or tanh")
    return _floats(self)


@operation("elu.default", "pointwise", cost=8)
def _elu(
    self: TensorType, alpha: Finite = 1, scale: Finite = 1, input_scale: Finite = 1
) -> TensorType:
    return _floats(self)


@operation("softplus.default", "pointwise", cost=8)
def _softplus(self: TensorType, beta: Finite = 1, threshold: Finite = 20) -> TensorType:
    return _floats(self)


@operation("leaky_relu.default", "pointwise", cost=8)
def _leaky_relu(self: TensorType, negative_slope: Finite = 0.01) -> TensorType:
    return _floats(self)


@operation("hardtanh.default", "pointwise", cost=8)
def _hardtanh(self: TensorType, min_val: Number = -1, max_val: Number = 1) -> TensorType:
    return _floats(self)


@operation("log_sigmoid_forward.default", "pointwise", cost=8)
def _log_sigmoid(self: TensorType) -> tuple[TensorType, ...]:
    # ATen's second result is a buffer whose size differs between devices: nothing may read it.
    return (_floats(self),)


@operation("nan_to_num.default", "pointwise", cost=8)
def _nan_to_num(
    self: TensorType,
    nan: Number | None = None,
    posinf: Number | None = None,
    neginf: Number | None = None,
) -> TensorType:
    return _floats(self)


@operation("_to_copy.default", "pointwise")
def _to_copy(self: TensorType, *, dtype: Cast | None = None) -> TensorType:
    return self.but(dtype)


# ---- arithmetic ----------------------------------------------------------------------------------


def _sum(a: TensorType | float, b: TensorType | float, alpha: float) -> TensorType:
    out = _joined(a, b)
    if type(alpha) is bool or (out.dtype != "float" and type(alpha) is float):
        raise refuse(f"alpha={alpha} for {out.dtype} operands")
    if out.dtype == "bool" and alpha != 1:
        raise refuse("alpha for conditions (bool)")
    return out


@operation("add.Tensor", "pointwise")
def _add(self: TensorType, other: Operand, *, alpha: Number = 1) -> TensorType:
    return _sum(self, other, alpha)


@operation("sub.Tensor", "pointwise")
def _sub(self: TensorType, other: Operand, *, alpha: Number = 1) -> TensorType:
    return _difference(self, other, alpha)


def _difference(a: TensorType, b: TensorType | float, alpha: float) -> TensorType:
    if "bool" in (_dtype(a), _dtype(b)):
        raise refuse("a difference of conditions (bool): use `.float()` first, or `~` and `&`")
    return _sum(a, b, alpha)


@operation("add.Scalar", "pointwise")
def _add_number(self: TensorType, other: Number, alpha: Number = 1) -> TensorType:
    return _sum(self, other, alpha)


@operation("sub.Scalar rsub.Scalar", "pointwise")
def _sub_number(self: TensorType, other: Number, alpha: Number = 1) -> TensorType:
    return _difference(self, other, alpha)


@operation("mul.Tensor mul.Scalar", "pointwise")
def _mul(self: TensorType, other: Operand) -> TensorType:
    return _joined(self, other)


@operation("div.Tensor div.Scalar", "pointwise")
def _div(self: TensorType, other: Operand) -> TensorType:
    return _joined(self, other).but("float")


@operation("atan2.default", "pointwise", cost=8)
def _atan2(self: TensorType, other: TensorType) -> TensorType:
    return _joined(self, other).but("float")


def _whole_division(a: TensorType, b: TensorType | float) -> TensorType:
    out = _no_truths(_joined(a, b), "division")
    if out.dtype == "int64" and type(b) in (int, bool) and not b:
        raise refuse("division of whole numbers by zero")
    return out


@operation("div.Tensor_mode div.Scalar_mode", "pointwise", cost=2)
def _div_mode(self: TensorType, other: Operand, *, rounding_mode: Text) -> TensorType:
    if rounding_mode not in ("floor", "trunc"):
        raise refuse("'rounding_mode' is floor or trunc")
    return _whole_division(self, other)


@operation(
    "remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar floor_divide.default",
    "pointwise",
    cost=4,
)
def _remainder(self: TensorType, other: Operand) -> TensorType:
    return _whole_division(self, other)


_MOST_POWER = 64


@operation("pow.Tensor_Scalar", "pointwise", cost=16)
def _power(self: TensorType, exponent: Number) -> TensorType:
    out = _no_truths(self, "a power").but(promote(self.dtype, category(exponent)))
    if out.dtype == "int64" and not 0 <= exponent <= _MOST_POWER:
        raise refuse(f"a power of whole numbers must be from 0 to {_MOST_POWER}: use `.float()`")
    return out


@operation("pow.Tensor_Tensor", "pointwise", cost=16)
def _power_of_tensors(self: TensorType, exponent: TensorType) -> TensorType:
    return _floats(_joined(self, exponent), "a power with a computed exponent")


@operation("pow.Scalar", "pointwise", cost=16)
def _power_of_number(self: Number, exponent: TensorType) -> TensorType:
    return _floats(_joined(self, exponent), "a power with a computed exponent")


@operation("maximum.default minimum.default", "pointwise")
def _larger(self: TensorType, other: TensorType) -> TensorType:
    return _joined(self, other)


@operation("lerp.Tensor lerp.Scalar", "pointwise")
def _lerp(self: TensorType, end: TensorType, weight: Operand) -> TensorType:
    for x in (self, end, weight):
        if isinstance(x, TensorType):
            _floats(x)
    return _joined(self, end, weight if isinstance(weight, TensorType) else None)


@operation("addcmul.default addcdiv.default", "pointwise", cost=3)
def _addc(
    self: TensorType, tensor1: TensorType, tensor2: TensorType, *, value: Finite = 1
) -> TensorType:
    for x in (self, tensor1, tensor2):
        _floats(x)
    return _joined(self, tensor1, tensor2)


# ---- comparing and choosing ----------------------------------------------------------------------


@operation(
    "eq.Tensor ne.Tensor lt.Tensor le.Tensor gt.Tensor ge.Tensor "
    "eq.Scalar ne.Scalar lt.Scalar le.Scalar gt.Scalar ge.Scalar",
    "pointwise",
)
def _compare(self: TensorType, other: Operand) -> TensorType:
    return _joined(self, other).but("bool")


@operation("logical_and.default logical_or.default logical_xor.default", "pointwise")
def _logic(self: TensorType, other: TensorType) -> TensorType:
    return _joined(self, other).but("bool")


@operation(
    "bitwise_and.Tensor bitwise_or.Tensor bitwise_xor.Tensor "
    "bitwise_and.Scalar bitwise_or.Scalar bitwise_xor.Scalar",
    "pointwise",
)
def _bits(self: TensorType, other: Operand) -> TensorType:
    return _bitwise_not(_joined(self, other))


def _condition(x: TensorType) -> TensorType:
    if x.dtype != "bool":
        raise refuse(f"the condition {shown(x)} is {x.dtype}: compare it with something, or `!= 0`")
    return x


@operation("where.self where.Scalar where.ScalarOther where.ScalarSelf", "pointwise")
def _where(condition: TensorType, self: Operand, other: Operand) -> TensorType:
    out = _joined(_condition(condition), self, other)
    return out.but(promote(_dtype(self), _dtype(other)))


def _fills(x: TensorType, value: TensorType | float) -> None:
    """Refuse a value that a tensor's dtype cannot hold."""
    if not holds(x.dtype, _dtype(value)):
        raise refuse(f"a {_dtype(value)} value does not fit into a tensor of {x.dtype}")
    if isinstance(value, TensorType) and value.shape:
        raise refuse("the value to fill with must have no dimensions")


@operation("masked_fill.Scalar masked_fill.Tensor", "pointwise")
def _masked_fill(self: TensorType, mask: TensorType, value: Operand) -> TensorType:
    _fills(self, value)
    return _joined(self, _condition(mask)).but(self.dtype)


@operation("fill.Scalar fill.Tensor", "pointwise")
def _fill(self: TensorType, value: Operand) -> TensorType:
    _fills(self, value)
    return self


@operation("clamp.default", "pointwise")
def _clamp(self: TensorType, min: Number | None = None, max: Number | None = None) -> TensorType:  # noqa: A002 - ATen's names
    return _clamped(self, min, max)


@operation("clamp.Tensor", "pointwise")
def _clamp_tensor(
    self: TensorType,
    min: TensorType | None = None,  # noqa: A002 - ATen's names
    max: TensorType | None = None,  # noqa: A002
) -> TensorType:
    return _clamped(self, min, max)


@operation("clamp_min.default clamp_min.Tensor", "pointwise", cost=2)
def _clamp_min(self: TensorType, min: Operand) -> TensorType:  # noqa: A002 - ATen's name
    return _clamped(self, min, None)


@operation("clamp_max.default clamp_max.Tensor", "pointwise", cost=2)
def _clamp_max(self: TensorType, max: Operand) -> TensorType:  # noqa: A002 - ATen's name
    return _clamped(self, None, max)


def _clamped(
    x: TensorType, low: TensorType | float | None, high: TensorType | float | None
) -> TensorType:
    if low is None and high is None:
        raise refuse("neither of its ends is given")
    return _no_truths(_joined(_no_truths(x, "a clamp"), low, high), "a clamp")
