"""The ATen operations a credit graph may contain, in one list.

Each has a family, which says how the prover follows it (:mod:`sandbox.prover`), the keyword
arguments it may carry, and the cost of one output element in rough floating-point operations.
Operations that draw random numbers, read uninitialised memory, write in place, or have sizes that
depend on values are absent on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal[
    "pointwise",  # one output element from the broadcast input elements at its place
    "structural",  # moves elements about, computes nothing
    "reduction",  # folds dimensions
    "normalise",  # softmax and its kind: along one dimension, shape kept
    "matmul",
    "indexed",  # reads or writes at computed places
    "create",  # from sizes and numbers
]


@dataclass(frozen=True)
class OpSpec:
    """What the sandbox knows of an operation before any tensor exists."""

    family: Family
    kwargs: frozenset[str] = frozenset()
    cost: int = 1
    """Floating-point operations for one element of the output, roughly."""


def _table() -> dict[str, OpSpec]:
    ops: dict[str, OpSpec] = {}

    def add(family: Family, names: str, *, kwargs: str = "", cost: int = 1) -> None:
        for name in names.split():
            ops[f"aten.{name}"] = OpSpec(family, frozenset(kwargs.split()), cost)

    add("pointwise", "neg.default abs.default sign.default relu.default square.default")
    add("pointwise", "floor.default ceil.default round.default trunc.default frac.default")
    add("pointwise", "logical_not.default bitwise_not.default isnan.default isinf.default")
    add(
        "pointwise",
        "sigmoid.default tanh.default exp.default expm1.default exp2.default log.default "
        "log1p.default log2.default log10.default sqrt.default rsqrt.default reciprocal.default "
        "sin.default cos.default tan.default asin.default acos.default atan.default sinh.default "
        "cosh.default erf.default silu.default gelu.default elu.default softplus.default "
        "leaky_relu.default hardtanh.default hardsigmoid.default hardswish.default mish.default "
        "log_sigmoid_forward.default atan2.default nan_to_num.default",
        kwargs="approximate",
        cost=8,
    )
    add("pointwise", "add.Tensor sub.Tensor add.Scalar sub.Scalar rsub.Scalar", kwargs="alpha")
    add("pointwise", "mul.Tensor mul.Scalar div.Tensor div.Scalar maximum.default minimum.default")
    add("pointwise", "div.Tensor_mode div.Scalar_mode", kwargs="rounding_mode", cost=2)
    add(
        "pointwise",
        "remainder.Tensor remainder.Scalar fmod.Tensor fmod.Scalar floor_divide.default",
        cost=4,
    )
    add(
        "pointwise",
        "pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar",
        cost=16,
    )
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        add("pointwise", f"{name}.Tensor {name}.Scalar")
    for name in ("logical_and", "logical_or", "logical_xor"):
        add("pointwise", f"{name}.default")
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        add("pointwise", f"{name}.Tensor {name}.Scalar")
    add("pointwise", "where.self where.Scalar where.ScalarOther where.ScalarSelf")
    add("pointwise", "masked_fill.Scalar masked_fill.Tensor lerp.Tensor lerp.Scalar")
    add("pointwise", "addcmul.default addcdiv.default", kwargs="value", cost=3)
    add("pointwise", "clamp.default clamp.Tensor clamp_min.default clamp_max.default")
    add("pointwise", "clamp_min.Tensor clamp_max.Tensor", cost=2)
    add("pointwise", "_to_copy.default", kwargs="dtype")
    add("pointwise", "fill.Scalar fill.Tensor")

    add("reduction", "sum.default sum.dim_IntList mean.default mean.dim", kwargs="dtype")
    add("reduction", "amax.default amin.default max.default min.default max.dim min.dim")
    add("reduction", "prod.default prod.dim_int", kwargs="dtype")
    add("reduction", "any.default any.dim any.dims all.default all.dim all.dims")
    add("reduction", "argmax.default argmin.default median.dim")
    add("reduction", "logsumexp.default", cost=8)
    add("reduction", "linalg_vector_norm.default norm.ScalarOpt_dim norm.Scalar", kwargs="dtype")
    add("reduction", "var.correction std.correction", kwargs="correction keepdim", cost=4)

    add("normalise", "_softmax.default _log_softmax.default", cost=16)
    add("normalise", "cumsum.default cumprod.default", kwargs="dtype")
    add(
        "normalise",
        "sort.default sort.stable topk.default",
        kwargs="stable dim descending",
        cost=32,
    )
    add("normalise", "native_layer_norm.default", cost=8)

    add("matmul", "mm.default bmm.default mv.default dot.default")
    add("matmul", "addmm.default baddbmm.default", kwargs="beta alpha")

    add(
        "structural",
        "reshape.default permute.default transpose.int t.default "
        "unsqueeze.default squeeze.default squeeze.dim squeeze.dims expand.default select.int "
        "slice.Tensor cat.default stack.default split.Tensor split_with_sizes.default unbind.int "
        "flip.default roll.default repeat.default tril.default triu.default diagonal.default "
        "diag_embed.default select_scatter.default "
        "slice_scatter.default constant_pad_nd.default",
        kwargs="implicit",
    )
    add("indexed", "index.Tensor index_select.default gather.default")
    add("indexed", "index_put.default scatter.src scatter.value scatter_add.default", cost=2)

    add("create", "zeros.default ones.default full.default scalar_tensor.default", kwargs="dtype")
    add("create", "zeros_like.default ones_like.default full_like.default", kwargs="dtype")
    add("create", "new_zeros.default new_ones.default new_full.default", kwargs="dtype")
    add("create", "arange.default arange.start arange.start_step", kwargs="dtype")
    add("create", "eye.default eye.m linspace.default", kwargs="dtype")
    return ops


OPS: dict[str, OpSpec] = _table()
