"""The rebuilt function is the candidate: values, gradients, dtypes, compiled or not."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sandbox_brute_force import states, values_of_agents
from sandbox_small_graphs import QS, STATE, mixing, small_card
from sandbox_written_functions import (
    MIXING,
    WEIGHTS,
    foraging_card,
    graph_of,
    source_of,
)

from sandbox.config import GateConfig
from sandbox.export import load
from sandbox.gate import apply_gate
from sandbox.graph import Batch, Constant, Ref
from sandbox.policy import check_source
from sandbox.runtime import CreditFunction

CARD = foraging_card()
RELAX = GateConfig(mode="relax")


def inputs(rows: int = 48, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Qs and states of the foraging card, float32."""
    rng = np.random.default_rng(seed)
    return values_of_agents(CARD, rng, 8.0, rows).float(), states(CARD, rng, rows).float()


def eager_q_tot(source: str, qs: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """What the source itself makes of them."""
    made = load(check_source(source))(qs, state)
    if isinstance(made, tuple):
        return (made[0] * qs).sum(1, keepdim=True) + made[1]
    return made


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING])
def test_the_rebuilt_function_is_the_written_one_bit_for_bit(name: str) -> None:
    torch.set_num_threads(1)
    source = source_of(name)
    function = CreditFunction(apply_gate(graph_of(name), RELAX))
    for rows in (48, 1):
        qs, state = inputs(rows)
        leaves = [qs.clone().requires_grad_(True) for _ in range(2)]
        mine, theirs = function(leaves[0], state), eager_q_tot(source, leaves[1], state.clone())
        assert mine.shape == (rows, 1)
        assert torch.equal(mine.nan_to_num(), theirs.nan_to_num())
        slopes = [
            torch.autograd.grad(t.sum(), q)[0] for t, q in zip((mine, theirs), leaves, strict=True)
        ]
        assert torch.equal(slopes[0].nan_to_num(), slopes[1].nan_to_num())
        assert torch.equal(qs, leaves[0])


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING])
def test_float64_stays_float64(name: str) -> None:
    function = CreditFunction(apply_gate(graph_of(name), GateConfig()))
    qs, state = inputs()
    near, far = function(qs, state), function(qs.double(), state.double())
    assert far.dtype == torch.float64
    values = function.evaluate(qs.double(), state.double())
    assert all(v.dtype != torch.float32 for v in values if isinstance(v, torch.Tensor))
    close = torch.isclose(near.double(), far, rtol=1e-4, atol=1e-4)
    assert float(close.float().mean()) > 0.8  # comparisons may fall on either side


def test_half_precision_inputs_give_half_precision() -> None:
    function = CreditFunction(apply_gate(graph_of("counts"), GateConfig()))
    qs, state = inputs()
    assert function(qs.bfloat16(), state.bfloat16()).dtype == torch.bfloat16


def test_mixed_inputs_take_the_wider_dtype() -> None:
    function = CreditFunction(apply_gate(graph_of("levels"), GateConfig()))
    qs, state = inputs()
    assert function(qs.double(), state).dtype == torch.float64


def test_whole_numbers_become_floats_of_the_inputs_dtype() -> None:
    card = small_card()
    graph = mixing(
        card,
        ("mul.Tensor", Ref(2), 0.1),
        ("where.Scalar", Ref(3), 0.1, 0.2),
        ("add.Tensor", Ref(4), Ref(5)),
        ("mul.Tensor", Ref(6), QS),
        ("sum.dim_IntList", Ref(7), (1,), True),
        constants=(Constant("int64", (1, 2), (1, 2)), Constant("bool", (1, 2), (True, False))),
    )
    function = CreditFunction(graph)
    values = function.evaluate(torch.ones(1, 2).double(), torch.ones(1, 3).double())
    assert values[6].tolist() == [[0.1 + 0.1, 0.2 + 0.2]]
    assert values[6].dtype == torch.float64


def test_plain_whole_numbers_of_a_choice_stay_whole() -> None:
    card = small_card()
    graph = mixing(card, ("gt.Scalar", STATE, 0.5), ("where.Scalar", Ref(2), 1, 0))
    assert (
        CreditFunction(graph).evaluate(torch.ones(1, 2), torch.ones(1, 3))[3].dtype == torch.int64
    )


def test_constants_first_used_in_inference_mode_can_be_trained_through() -> None:
    card = small_card()
    graph = mixing(
        card, ("mul.Tensor", QS, Ref(2)), ("sum.dim_IntList", Ref(3), (1,), True),
        constants=(Constant("float", (1, 2), (0.5, 2.0)),),
    )  # fmt: skip
    function = CreditFunction(graph)
    with torch.inference_mode():
        function(torch.ones(4, 2), torch.ones(4, 3))
    qs = torch.ones(4, 2, requires_grad=True)
    function(qs, torch.ones(4, 3)).sum().backward()
    assert qs.grad is not None
    assert qs.grad.tolist() == [[0.5, 2.0]] * 4


def test_it_is_a_module_without_parameters_or_state() -> None:
    function = CreditFunction(apply_gate(graph_of("counts"), GateConfig()))
    qs, state = inputs()
    first = function(qs, state)
    assert not list(function.parameters())
    assert not function.state_dict()
    assert torch.equal(copy.deepcopy(function)(qs, state), first)


def test_devices_follow_the_inputs() -> None:
    function = CreditFunction(apply_gate(graph_of("role by comparison"), GateConfig()))
    qs, state = (t.to("meta") for t in inputs())
    assert function(qs, state).device.type == "meta"


def test_outputs_are_named() -> None:
    function = CreditFunction(apply_gate(graph_of("softmax of health"), GateConfig()))
    made = function.outputs(*inputs())
    assert set(made) == {"weights", "bias", "q_tot"}
    assert bool((made["weights"] >= 0).all())


@pytest.mark.parametrize(
    ("index", "kind"),
    [((5, -9), "gather"), ((7, -7), "index"), ((2, 100), "index_select"), ((9, -1), "scatter")],
)
def test_places_out_of_range_are_clamped(index: tuple[int, int], kind: str) -> None:
    card = small_card()
    pick = {
        "gather": ("gather.default", STATE, 1, Ref(2)),
        "index": ("index.Tensor", STATE, (None, Ref(3))),
        "index_select": ("index_select.default", STATE, 1, Ref(3)),
        "scatter": ("scatter.value", STATE, 1, Ref(2), 5.0),
    }[kind]
    graph = mixing(
        card, pick,
        constants=(Constant("int64", (1, 2), index), Constant("int64", (2,), index)),
    )  # fmt: skip
    state = torch.tensor([[1.0, 2.0, 3.0]])
    made = CreditFunction(graph).evaluate(torch.ones(1, 2), state)[4]
    assert bool(torch.isfinite(made).all())
    if kind in ("gather", "index"):
        low = 1.0 if kind == "gather" else state[0, -3].item()
        assert made.tolist() == [[3.0, low]]


@pytest.mark.parametrize("op", ["remainder.Tensor", "fmod.Tensor", "floor_divide.default"])
def test_division_of_whole_numbers_is_total(op: str) -> None:
    """Processors trap on a divisor of zero, and on the least integer divided by -1."""
    least = Constant("int64", (1, 3), (-(2**53),) * 3)
    graph = mixing(
        small_card(),
        ("_to_copy.default", STATE, {"dtype": _int64()}),
        ("mul.Tensor", Ref(2), 1024),
        (op, Ref(4), Ref(3)),
        ("mul.Tensor", Ref(4), 0),
        (op, Ref(4), Ref(6)),
        constants=(least,),
    )
    minus = torch.full((1, 3), -1.0)
    made = CreditFunction(graph).evaluate(torch.ones(1, 2), minus)
    assert made[4].tolist() == [[-(2**63)] * 3]
    whole = op == "floor_divide.default"
    assert made[5].tolist() == [[-(2**63) if whole else 0] * 3]
    assert made[7].tolist() == [[-(2**63) if whole else 0] * 3]


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_a_division_by_minus_one_is_a_negation(mode: str) -> None:
    """Also of the least integer, which stays as it is."""
    graph = mixing(
        small_card(),
        ("_to_copy.default", STATE, {"dtype": _int64()}),
        ("add.Tensor", Ref(2), -(2**53)),
        ("mul.Tensor", Ref(3), 1024),
        ("div.Tensor_mode", Ref(4), -1, {"rounding_mode": mode}),
    )
    made = CreditFunction(graph).evaluate(torch.ones(1, 2), torch.zeros(1, 3))
    assert made[5].tolist() == [[-(2**63)] * 3]


def test_a_conversion_to_whole_numbers_is_total() -> None:
    graph = mixing(
        small_card(),
        ("mul.Tensor", STATE, 1e30),
        ("_to_copy.default", Ref(2), {"dtype": _int64()}),
    )
    state = torch.tensor([[math.nan, 1.0, -1.0]])
    made = CreditFunction(graph).evaluate(torch.ones(1, 2), state)
    assert made[3].tolist() == [[0, 2**53, -(2**53)]]


def _int64():  # type: ignore[no-untyped-def]
    from sandbox.graph import DTypeArg

    return DTypeArg("int64")


def test_the_median_of_what_is_repeated_is_what_is_repeated() -> None:
    """torch itself reads memory that nobody wrote here: other numbers each time, and not ours."""
    card = small_card()
    graph = mixing(
        card,
        ("sum.dim_IntList", STATE, (1,), True),
        ("expand.default", Ref(2), (Batch(0, 1), 5)),
        ("median.dim", Ref(3), 1, True),
    )
    state = torch.arange(12.0).reshape(4, 3)
    made = CreditFunction(graph).evaluate(torch.ones(4, 2), state)[4][0]
    assert torch.equal(made, state.sum(1, keepdim=True))


def test_a_masked_write_is_a_choice() -> None:
    card = small_card()
    graph = mixing(
        card,
        ("gt.Scalar", STATE, 0.5),
        ("scalar_tensor.default", 9.0),
        ("index_put.default", STATE, (Ref(2),), Ref(3)),
    )
    state = torch.tensor([[0.0, 1.0, 0.2], [0.9, 0.1, 0.6]])
    made = CreditFunction(graph).evaluate(torch.ones(2, 2), state)[4]
    expected = state.clone()
    expected[state > 0.5] = 9.0
    assert torch.equal(made, expected)


def test_sizes_grow_with_the_batch() -> None:
    card = small_card()
    graph = mixing(card, ("full.default", (Batch(0, 1), 1), 0.5))
    assert CreditFunction(graph)(torch.ones(5, 2), torch.ones(5, 3)).tolist() == [[0.5]] * 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["counts", "in-place writes", "attention over food", "bent"])
def test_compiled_it_agrees(name: str) -> None:
    """Needs a C++ compiler; without one torch says so."""
    function = CreditFunction(apply_gate(graph_of(name), GateConfig()))
    compiled = torch.compile(function, dynamic=True)
    for rows in (48, 7):
        qs, state = inputs(rows)
        leaves = [qs.clone().requires_grad_(True) for _ in range(2)]
        made = [f(q, state) for f, q in zip((function, compiled), leaves, strict=True)]
        assert torch.allclose(made[0], made[1], rtol=1e-5, atol=1e-5)
        slopes = [torch.autograd.grad(t.sum(), q)[0] for t, q in zip(made, leaves, strict=True)]
        assert torch.allclose(slopes[0], slopes[1], rtol=1e-5, atol=1e-5)
