"""Claims that the prover once made wrongly, or could be led to make; each by name."""

from __future__ import annotations

import math

import pytest
import torch
from sandbox_brute_force import refute
from sandbox_small_graphs import QS, STATE, mixing, proof_of, small_card

from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import Batch, Constant, CreditGraph, DTypeArg, GraphError, Ref
from sandbox.inference import infer_types
from sandbox.prover.domain import FLOAT32, Abstract
from sandbox.prover.interpreter import interpret
from sandbox.prover.splitting import whole_columns
from sandbox.reading import read_graph
from sandbox.runtime import CreditFunction

CARD = small_card()
TOTAL = ("sum.dim_IntList", QS, (1,), True)


def rounded(graph: CreditGraph, number: int, card=CARD) -> Abstract:  # type: ignore[no-untyped-def]
    """The float32 claim about a value."""
    ranges, bound = card.column_intervals(), card.q_bound()
    claims = interpret(
        graph, infer_types(graph), FLOAT32, ((-bound, bound),) * 2, ranges, whole_columns(card)
    )
    return claims[number][0]


def holds(graph: CreditGraph, card=CARD) -> None:  # type: ignore[no-untyped-def]
    """No claim about a graph is refuted."""
    for seed in range(4):
        refute(apply_gate(graph, GateConfig()), card, seed)


def test_a_pole_in_q_is_not_monotone_although_its_slope_never_falls() -> None:
    graph = mixing(CARD, TOTAL, ("reciprocal.default", Ref(2)), ("neg.default", Ref(3)))
    assert not proof_of(graph, CARD).monotone


def test_the_inverse_root_has_a_pole_with_a_negative_side() -> None:
    """torch makes minus infinity of -0.0, and relu makes a number of that."""
    steps = (TOTAL, ("rsqrt.default", Ref(2)), ("relu.default", Ref(3)), ("neg.default", Ref(4)))
    assert not proof_of(mixing(CARD, *steps), CARD).monotone


def test_a_tail_too_flat_for_float64_still_depends_on_q() -> None:
    for op, low, high in (
        ("tanh", 30.0, 40.0),
        ("exp", -900.0, -800.0),
        ("sigmoid", -900.0, -800.0),
    ):
        graph = mixing(
            CARD, TOTAL, ("mul.Tensor", Ref(2), 100.0), ("clamp.default", Ref(3), low, high),
            (f"{op}.default", Ref(4)),
        )  # fmt: skip
        proof = proof_of(graph, CARD)
        assert not proof.linear_in_q, op
        assert (0.0, 0.0) not in proof.slopes, op


def test_softplus_with_a_low_threshold_steps_down() -> None:
    graph = mixing(CARD, TOTAL, ("softplus.default", Ref(2), 1.0, 0.0))
    assert not proof_of(graph, CARD).monotone_over_reals
    plain = proof_of(mixing(CARD, TOTAL, ("softplus.default", Ref(2))), CARD)
    assert plain.monotone_over_reals
    assert not plain.monotone  # float32's exponential need not rise where the exact one does


def test_a_threshold_of_softplus_that_only_float32_reaches_is_a_step() -> None:
    """Over the reals x ends at 0.52; float32 makes 0 or 1 of it."""
    graph = mixing(
        CARD, TOTAL, ("clamp.default", Ref(2), 0.0, 0.52), ("add.Scalar", Ref(3), 1e7),
        ("sub.Scalar", Ref(4), 1e7), ("softplus.default", Ref(5), 1.0, 0.9),
    )  # fmt: skip
    assert not proof_of(graph, CARD).monotone_over_reals


def test_a_step_of_what_rounds_correctly_is_proved() -> None:
    graph = mixing(
        CARD, TOTAL, ("div.Scalar", Ref(2), 3.0), ("gt.Scalar", Ref(3), 0.1),
        ("floor.default", Ref(3)), ("add.Tensor", Ref(5), Ref(4)), ("add.Tensor", Ref(6), Ref(2)),
    )  # fmt: skip
    proof = proof_of(graph, CARD)
    assert proof.monotone
    assert proof.monotone_over_reals


def test_an_index_that_depends_on_q_in_one_place_keeps_the_slopes_of_the_other() -> None:
    index = Constant("int64", (1, 2), (0, 1))
    graph = mixing(
        CARD,
        ("gt.Scalar", QS, 0.0),  # 3
        ("_to_copy.default", Ref(3), {"dtype": DTypeArg("int64")}),
        ("mul.Tensor", Ref(4), Ref(2)),  # 5: zero in the first place whatever Q is
        ("neg.default", QS),
        ("gather.default", Ref(6), 1, Ref(5)),
        ("select.int", Ref(7), 1, 0),
        ("unsqueeze.default", Ref(8), 1),
        constants=(index,),
    )
    assert not proof_of(graph, CARD).monotone
    holds(graph)


def test_truth_plus_truth_is_truth() -> None:
    graph = mixing(
        CARD,
        ("ge.Scalar", STATE, 0.0),
        ("add.Tensor", Ref(2), Ref(2)),
        ("_to_copy.default", Ref(3), {"dtype": DTypeArg("float")}),
        ("sub.Scalar", Ref(4), 1.5),  # -0.5, not 0.5
        ("slice.Tensor", Ref(5), 1, 0, 2),
        ("mul.Tensor", Ref(6), QS),
        ("sum.dim_IntList", Ref(7), (1,), True),
    )
    assert not proof_of(graph, CARD).monotone
    holds(graph)


def test_whole_tensors_drop_fractions() -> None:
    graph = mixing(
        CARD,
        ("full.default", (Batch(0, 1), 2), 2.7),
        ("_to_copy.default", Ref(2), {"dtype": DTypeArg("int64")}),
        ("sub.Scalar", Ref(3), 2.5),  # -0.5, not 0.2
        ("mul.Tensor", Ref(4), QS),
        ("sum.dim_IntList", Ref(5), (1,), True),
    )
    assert not proof_of(graph, CARD).monotone
    holds(graph)


def test_whole_numbers_that_wrap_round_are_not_followed() -> None:
    big = Constant("int64", (1,), (2**53,))
    graph = mixing(
        CARD,
        ("mul.Tensor", Ref(2), Ref(2)),
        ("mul.Tensor", Ref(3), QS),
        ("sum.dim_IntList", Ref(4), (1,), True),
        constants=(big,),
    )
    proof = proof_of(graph, CARD)
    assert (proof.monotone, proof.monotone_over_reals, proof.finite) == (False,) * 3


def test_the_batch_size_is_not_a_number() -> None:
    graph = mixing(CARD, TOTAL, ("div.Tensor", Ref(2), Batch(0, 1)))
    with pytest.raises(GraphError, match="batch size as a number"):
        read_graph(graph.to_json())
    filled = mixing(CARD, ("full.default", (Batch(0, 1), 1), Batch(0, 1)))
    with pytest.raises(GraphError, match="batch size as a number"):
        read_graph(filled.to_json())


def test_a_squeeze_that_would_take_a_batch_of_one_apart_is_refused() -> None:
    graph = mixing(CARD, TOTAL, ("squeeze.default", Ref(2)), ("unsqueeze.default", Ref(3), 1))
    with pytest.raises(GraphError):
        infer_types(graph)


def test_a_size_that_fits_small_batches_only_is_refused() -> None:
    graph = mixing(
        CARD,
        ("slice.Tensor", Ref(2), 0, 0, Batch(0, 1)),  # the first B of 40 numbers
        ("unsqueeze.default", Ref(3), 1),
        constants=(Constant("float", (40,), (1.0,) * 40),),
    )
    with pytest.raises(GraphError):
        infer_types(graph)


def test_a_masked_write_of_one_value_for_each_row_is_refused() -> None:
    graph = mixing(
        CARD,
        ("select.int", QS, 1, 0),  # [B]
        ("gt.Scalar", Ref(2), 0.0),
        ("select.int", STATE, 1, 0),
        ("index_put.default", Ref(4), (Ref(3),), Ref(2)),
        ("unsqueeze.default", Ref(5), 1),
    )
    with pytest.raises(GraphError, match="mask"):
        infer_types(graph)


def test_a_product_whose_partial_products_overflow_is_not_called_finite() -> None:
    numbers = Constant("float", (1, 4), (1e30, 1e30, 1e-30, 1e-30))
    graph = mixing(
        CARD,
        ("prod.dim_int", Ref(2), 1, True),
        ("mul.Tensor", Ref(3), QS),
        ("sum.dim_IntList", Ref(4), (1,), True),
        constants=(numbers,),
    )
    assert not proof_of(graph, CARD).finite
    small = Constant("float", (1, 4), (1e-30, 1e-30, 1e30, 1e30))
    claim = rounded(mixing(CARD, ("prod.dim_int", Ref(2), 1, True), constants=(small,)), 3)
    assert float(claim.value.lo) <= 0.0  # it may vanish on the way


@pytest.mark.parametrize("op", ["logsumexp.default", "_log_softmax.default"])
def test_results_near_zero_have_the_error_of_what_cancelled(op: str) -> None:
    at = -math.log(2.0)
    args = ((1,), True) if op.startswith("log") else (1, False)
    for a, b in ((at, at + 1e-7), (20.0, 3.0), (0.0, -16.0)):
        graph = mixing(CARD, (op, Ref(2), *args), constants=(Constant("float", (1, 2), (a, b)),))
        claim = rounded(graph, 3)
        values = CreditFunction(graph).evaluate(torch.zeros(1, 2), torch.zeros(1, 3))
        made = values[3].double()
        assert bool(((made >= claim.value.lo) & (made <= claim.value.hi)).all())
        assert float((claim.value.hi - claim.value.lo).min()) > 1e-7


def test_layer_norm_of_nearly_equal_large_numbers_is_bounded_by_its_rounding() -> None:
    numbers = Constant("float", (1, 2), (1e6, 1e6 + 0.0625))
    graph = mixing(
        CARD, ("native_layer_norm.default", Ref(2), (2,), None, None, 1e-12), constants=(numbers,)
    )
    assert float(rounded(graph, 3).value.hi.max()) > 1e3


def test_float32_comparisons_see_rounded_numbers() -> None:
    card = small_card(low=0.1000000001, high=1.0)
    graph = mixing(
        card,
        ("gt.Scalar", STATE, 0.1),
        ("_to_copy.default", Ref(2), {"dtype": DTypeArg("float")}),
        ("add.Scalar", Ref(3), -1.0),
        ("reciprocal.default", Ref(4)),
    )
    assert float(rounded(graph, 2, card).value.lo.min()) == 0.0
    holds(graph_of(graph, card), card)


def graph_of(graph: CreditGraph, card) -> CreditGraph:  # type: ignore[no-untyped-def]
    """The same with its last value made into q_tot."""
    last = Ref(graph.first_operation + len(graph.operations) - 1)
    operations = [(o.op.removeprefix("aten."), *o.args, dict(o.kwargs)) for o in graph.operations]
    return mixing(
        card, *operations, ("sum.dim_IntList", last, (1,), True), constants=graph.constants
    )


def test_a_clamp_to_a_number_that_float32_rounds_down_may_lie_below_it() -> None:
    claim = rounded(mixing(CARD, ("clamp_min.default", STATE, 0.7)), 2)
    assert float(claim.value.lo.min()) <= float(torch.tensor(0.7))


def test_linspace_does_not_hit_zero() -> None:
    claim = rounded(mixing(CARD, ("linspace.default", -0.3, 0.3, 7)), 2)
    assert float(claim.value.lo[3]) < 0 < float(claim.value.hi[3])


@pytest.mark.parametrize(
    "steps",
    [
        (("sign.default", Ref(3)),),  # torch makes zero of NaN
        (("nan_to_num.default", Ref(3)),),
        (("sigmoid.default", Ref(3)), ("nan_to_num.default", Ref(4), 0.5)),
        (("sort.default", Ref(3), 1),),  # NaN goes last and moves the others
        (("median.dim", Ref(3), 1, True),),
        (("topk.default", Ref(3), 2, 1),),
    ],
)
def test_what_makes_numbers_of_nan_and_infinity_claims_nothing_false(
    steps: tuple[tuple, ...],  # type: ignore[type-arg]
) -> None:
    card = small_card(low=-1.0, high=1.0, kind="integer")
    start = (("log.default", STATE), ("div.Tensor", Ref(2), STATE))
    holds(graph_of(mixing(card, *start, *steps), card), card)


def test_topk_without_an_order_has_none() -> None:
    graph = mixing(CARD, ("topk.default", STATE, 2, 1, True, False))
    assert rounded(graph, 2).is_unknown


def test_limits_that_are_not_numbers_prove_nothing() -> None:
    for low in (math.nan, math.inf):
        graph = mixing(
            CARD, ("clamp.default", QS, low, None), ("sum.dim_IntList", Ref(2), (1,), True)
        )
        proof = proof_of(graph, CARD)
        assert (proof.finite, proof.linear_in_q) == (False, False), low


def test_a_softmax_of_nothing_but_masks_is_not_called_finite() -> None:
    card = small_card(kind="integer")
    graph = mixing(
        card,
        ("lt.Scalar", STATE, 0.5),
        ("masked_fill.Scalar", STATE, Ref(2), -math.inf),
        ("_softmax.default", Ref(3), 1, False),
        ("slice.Tensor", Ref(4), 1, 0, 2),
        ("mul.Tensor", Ref(5), QS),
        ("sum.dim_IntList", Ref(6), (1,), True),
    )
    assert not proof_of(graph, card).finite
    holds(graph, card)


def test_a_softmax_with_one_seat_that_is_never_masked_is_finite() -> None:
    card = small_card(kind="integer", columns=2)
    graph = mixing(
        card,
        ("lt.Scalar", STATE, 0.5),  # 3
        ("logical_and.default", Ref(3), Ref(2)),
        ("masked_fill.Scalar", STATE, Ref(4), -math.inf),
        ("_softmax.default", Ref(5), 1, False),
        ("mul.Tensor", Ref(6), QS),
        ("sum.dim_IntList", Ref(7), (1,), True),
        constants=(Constant("bool", (1, 2), (False, True)),),
    )
    proof = proof_of(graph, card)
    assert proof.finite
    assert proof.monotone
    holds(graph, card)


def guarded(limit: float, kind: str) -> bool:
    """Whether where(x > limit, q / x, 0) is proved finite and monotone for x from 0 to 5."""
    card = small_card(high=5.0, kind=kind, columns=2)
    graph = mixing(
        card,
        ("gt.Scalar", STATE, limit),
        ("div.Tensor", QS, STATE),
        ("zeros_like.default", QS),
        ("where.self", Ref(2), Ref(3), Ref(4)),
        ("sum.dim_IntList", Ref(5), (1,), True),
    )
    holds(graph, card)
    proof = proof_of(graph, card)
    return proof.finite and proof.monotone


def test_a_guard_makes_a_division_safe_only_where_it_keeps_away_from_zero() -> None:
    assert guarded(0.0, "integer")
    assert guarded(0.01, "real")
    assert not guarded(0.0, "real")  # 1e-45 is greater than zero, and its inverse infinite
    assert not guarded(-1.0, "integer")


def test_a_guard_on_one_value_says_nothing_of_its_neighbour() -> None:
    card = small_card(high=5.0, kind="integer", columns=2)
    graph = mixing(
        card,
        ("flip.default", STATE, (1,)),
        ("gt.Scalar", Ref(2), 0.0),
        ("div.Tensor", QS, STATE),
        ("zeros_like.default", QS),
        ("where.self", Ref(3), Ref(4), Ref(5)),
        ("sum.dim_IntList", Ref(6), (1,), True),
    )
    assert not proof_of(graph, card).finite
    holds(graph, card)


def test_very_wide_values_are_given_up_rather_than_followed() -> None:
    card = small_card(columns=60_000)
    graph = mixing(
        card,
        ("_softmax.default", STATE, 1, False),  # 60,000 x 60,000 pairs
        ("cumsum.default", STATE, 1),
        ("sum.dim_IntList", Ref(2), (1,), True),
    )
    claim = rounded(graph, 2, card)
    assert claim.is_unknown
    assert not proof_of(graph, card).finite
