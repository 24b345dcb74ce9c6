"""Proofs that the gradient is finite: kept where a derivative is bounded, refused at its poles."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sandbox_brute_force import check_proof
from sandbox_small_graphs import QS, STATE, mixing, proof_of, small_card

from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import CreditGraph, Ref
from sandbox.prover.derivatives import BOUNDS
from sandbox.runtime import CreditFunction
from sandbox.table import OPS

CARD = small_card(low=0.5, high=2.0, columns=2)
BOUND = CARD.q_bound()


def of(low: float, high: float, *steps: tuple[Any, ...]) -> CreditGraph:
    """q_tot of operations on Qs that are brought into a range; the first reads value 3."""
    total = ("sum.dim_IntList", Ref(3 + len(steps)), (1,), True)
    scaled = (
        ("mul.Scalar", QS, (high - low) / (2 * BOUND)),
        ("add.Scalar", Ref(2), (high + low) / 2),
    )
    return mixing(CARD, *scaled, *steps, total)


def is_finite(graph: CreditGraph) -> bool:
    """Whether the gradient is proved finite; what is proved holds at many Qs."""
    proof = proof_of(graph, CARD)
    qs = torch.linspace(-BOUND, BOUND, 257)[:, None].expand(-1, 2).contiguous()
    gated = apply_gate(graph, GateConfig())
    check_proof(proof, CreditFunction(gated), qs, torch.full((257, 2), 0.5))
    return proof.finite_throughout


@pytest.mark.parametrize(
    ("op", "inside", "at_pole"),
    [
        ("sqrt.default", (0.25, 4.0), (0.0, 4.0)),
        ("log.default", (0.25, 4.0), (0.0, 4.0)),
        ("log1p.default", (-0.5, 4.0), (-1.0, 4.0)),
        ("rsqrt.default", (0.25, 4.0), (0.0, 4.0)),
        ("reciprocal.default", (0.25, 4.0), (-1.0, 1.0)),
        ("asin.default", (-0.5, 0.5), (-1.0, 1.0)),
        ("acos.default", (-0.5, 0.5), (-1.0, 1.0)),
        ("tan.default", (-1.0, 1.0), (-2.0, 2.0)),
        ("exp.default", (-4.0, 4.0), (-4.0, 100.0)),
    ],
)
def test_a_derivative_is_bounded_away_from_its_pole_only(
    op: str, inside: tuple[float, float], at_pole: tuple[float, float]
) -> None:
    assert is_finite(of(*inside, (op, Ref(3))))
    assert not is_finite(of(*at_pole, (op, Ref(3))))


@pytest.mark.parametrize(("power", "low", "finite"), [
    (0.5, 0.0, False), (0.5, 0.25, True), (1.5, 0.0, True), (3.0, -4.0, True), (-2.0, 0.25, True),
])  # fmt: skip
def test_a_power_has_a_pole_at_zero_if_it_is_below_one(
    power: float, low: float, finite: bool
) -> None:
    assert is_finite(of(low, 4.0, ("pow.Tensor_Scalar", Ref(3), power))) is finite


def test_a_divisor_that_may_be_zero_has_no_gradient_also_where_it_is_not_chosen() -> None:
    away = ("clamp_min.default", STATE, 1.0)
    zero = ("sub.Scalar", STATE, 0.5)
    for divisor, finite in ((away, True), (zero, False)):
        graph = mixing(
            CARD, divisor, ("gt.Scalar", Ref(2), 0.25), ("div.Tensor", QS, Ref(2)),
            ("where.self", Ref(3), Ref(4), QS), ("sum.dim_IntList", Ref(5), (1,), True),
        )  # fmt: skip
        assert is_finite(graph) is finite
        assert proof_of(graph, CARD).finite  # the value is


def test_what_reads_no_q_may_have_a_pole() -> None:
    graph = mixing(
        CARD, ("sub.Scalar", STATE, 0.5), ("sqrt.default", Ref(2)), ("mul.Tensor", Ref(3), QS),
        ("sum.dim_IntList", Ref(4), (1,), True),
    )  # fmt: skip
    assert is_finite(graph)


def test_a_gradient_beyond_float32_is_not_finite() -> None:
    steps = (("mul.Scalar", Ref(3), 1e30), ("sin.default", Ref(4)), ("mul.Scalar", Ref(5), 1e30))
    assert not is_finite(of(-1.0, 1.0, *steps))
    assert is_finite(of(-1.0, 1.0, *steps[:2]))


def test_bounds_are_of_operations_that_graphs_may_contain() -> None:
    assert not set(BOUNDS) - {name.split(".")[1] for name in OPS}
