"""Sizes as functions of the batch, bounded before anything large is made."""

from __future__ import annotations

import pytest
from sandbox_small_graphs import QS, STATE, mixing, small_card
from sandbox_written_functions import MIXING, WEIGHTS, graph_of

from sandbox.graph import Batch, Constant, GraphError, Ref
from sandbox.inference import MAX_FIXED_ELEMENTS, MAX_ROW_COST, MAX_ROW_ELEMENTS, infer_types
from sandbox.table import TensorType

CARD = small_card()
TOTAL = ("sum.dim_IntList", QS, (1,), True)


def rule_of(*operations: tuple, **more: object) -> str:  # type: ignore[type-arg]
    """The rule by which a graph is refused."""
    with pytest.raises(GraphError) as caught:
        infer_types(mixing(CARD, *operations, **more))  # type: ignore[arg-type]
    return caught.value.rule


def test_sizes_grow_with_the_batch() -> None:
    graph = mixing(CARD, TOTAL, ("unsqueeze.default", QS, 2), ("max.dim", STATE, 1))
    types = infer_types(graph)
    assert types.values[0] == (TensorType("float", (1, 2), 0),)
    assert types.values[2] == (TensorType("float", (1, 1), 0),)
    assert types.values[3] == (TensorType("float", (1, 2, 1), 0),)
    assert types.values[4] == (TensorType("float", (1,), 0), TensorType("int64", (1,), 0))


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING])
def test_written_functions_are_far_from_the_bounds(name: str) -> None:
    types = infer_types(graph_of(name))
    assert 0 < types.row_cost < MAX_ROW_COST / 1000
    assert 0 < types.row_bytes < 10_000


def test_bounds_are_bounds() -> None:
    wide = MAX_ROW_ELEMENTS // 2
    fits = mixing(CARD, ("expand.default", Ref(2), (Batch(0, 1), wide, 2)), TOTAL,
                  constants=(Constant("float", (1, 1, 2), (1.0, 2.0)),))  # fmt: skip
    infer_types(fits)
    over = ("expand.default", Ref(2), (Batch(0, 1), wide + 1, 2))
    constants = (Constant("float", (1, 1, 2), (1.0, 2.0)),)
    assert rule_of(over, TOTAL, ("add.Tensor", Ref(3), Ref(3)), constants=constants) == "graph.size"
    assert rule_of(("zeros.default", (MAX_FIXED_ELEMENTS + 1,))) == "graph.size"


def test_rows_stay_rows() -> None:
    assert rule_of(("t.default", QS), ("mm.default", QS, Ref(2))) == "graph.batch"
    assert rule_of(("cat.default", (QS, QS), 0)) == "graph.batch"
    flat = infer_types(mixing(CARD, ("reshape.default", QS, (-1,))))
    assert flat.values[2] == (TensorType("float", (2,), 0),)


def test_a_function_that_costs_too_much_is_refused() -> None:
    square = Constant("float", (1, 1), (1.0,))
    steps = [("expand.default", Ref(2), (200, 200))]
    steps += [("mm.default", Ref(3 + i), Ref(3 + i)) for i in range(3)]
    assert rule_of(*steps, constants=(square,)) == "graph.cost"


def test_what_torch_refuses_only_with_data_is_refused_at_once() -> None:
    """Tensors without data accept both of these."""
    assert rule_of(("bitwise_xor.Tensor", QS, QS)) == "graph.arguments"
    assert rule_of(TOTAL, ("add.Tensor", Ref(2), Ref(2), {"alpha": True})) == "graph.arguments"


def test_a_refusal_names_the_operation() -> None:
    three = Constant("float", (3, 3), (1.0,) * 9)
    with pytest.raises(GraphError, match="mm: a product of") as caught:
        infer_types(mixing(CARD, ("mm.default", QS, Ref(2)), constants=(three,)))
    assert caught.value.rule == "graph.arguments"


def test_memory_counts_every_intermediate_and_its_gradient() -> None:
    """Two [B, 2] results that depend on Q take 16 bytes each, and their gradients as much."""
    graph = mixing(CARD, ("exp.default", QS), ("neg.default", Ref(2)), ("exp.default", STATE),
                   ("sum.dim_IntList", Ref(3), (1,), True))  # fmt: skip
    assert infer_types(graph).row_bytes == 2 * 2 * 8 + 12 + 2 * 4
