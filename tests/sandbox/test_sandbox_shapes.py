"""Sizes as functions of the batch, bounded before anything large is made."""

from __future__ import annotations

import pytest
from sandbox_small_graphs import QS, STATE, mixing, small_card
from sandbox_written_functions import MIXING, WEIGHTS, graph_of

from sandbox.graph import Batch, Constant, GraphError, Ref
from sandbox.shapes import MAX_FIXED_ELEMENTS, MAX_ROW_COST, MAX_ROW_ELEMENTS, infer_shapes

CARD = small_card()
TOTAL = ("sum.dim_IntList", QS, (1,), True)


def rule_of(*operations: tuple, **more: object) -> str:  # type: ignore[type-arg]
    """The rule by which a graph is refused."""
    with pytest.raises(GraphError) as caught:
        infer_shapes(mixing(CARD, *operations, **more))  # type: ignore[arg-type]
    return caught.value.rule


def test_sizes_grow_with_the_batch() -> None:
    graph = mixing(CARD, TOTAL, ("unsqueeze.default", QS, 2), ("max.dim", STATE, 1))
    shapes = infer_shapes(graph)
    batch = Batch(0, 1)
    assert shapes.shape[0] == ((batch, Batch(2, 0)),)
    assert shapes.shape[2] == ((batch, Batch(1, 0)),)
    assert shapes.shape[3] == ((batch, Batch(2, 0), Batch(1, 0)),)
    assert shapes.shape[4] == ((batch,), (batch,))
    assert [str(d) for d in shapes.dtype[4]] == ["torch.float32", "torch.int64"]


@pytest.mark.parametrize("name", [*WEIGHTS, *MIXING])
def test_written_functions_are_far_from_the_bounds(name: str) -> None:
    shapes = infer_shapes(graph_of(name))
    assert 0 < shapes.row_cost < MAX_ROW_COST / 1000


def test_bounds_are_bounds() -> None:
    wide = MAX_ROW_ELEMENTS // 2
    fits = mixing(CARD, ("expand.default", Ref(2), (Batch(0, 1), wide, 2)), TOTAL,
                  constants=(Constant("float", (1, 1, 2), (1.0, 2.0)),))  # fmt: skip
    infer_shapes(fits)
    over = ("expand.default", Ref(2), (Batch(0, 1), wide + 1, 2))
    constants = (Constant("float", (1, 1, 2), (1.0, 2.0)),)
    assert rule_of(over, TOTAL, ("add.Tensor", Ref(3), Ref(3)), constants=constants) == "graph.size"
    assert rule_of(("zeros.default", (MAX_FIXED_ELEMENTS + 1,))) == "graph.size"


def test_rows_stay_rows() -> None:
    flat = ("reshape.default", QS, (-1,))
    assert rule_of(("t.default", QS), ("mm.default", QS, Ref(2))) == "graph.batch_squared"
    assert rule_of(("cat.default", (QS, QS), 0), ("slice.Tensor", Ref(2), 0, 1, 2**53)) in (
        "graph.batch", "graph.arguments",
    )  # fmt: skip
    assert infer_shapes(mixing(CARD, flat)).shape[2] == ((Batch(0, 2),),)


def test_a_function_that_costs_too_much_is_refused() -> None:
    square = Constant("float", (1, 1), (1.0,))
    steps = [("expand.default", Ref(2), (200, 200))]
    steps += [("mm.default", Ref(3 + i), Ref(3 + i)) for i in range(3)]
    assert rule_of(*steps, constants=(square,)) == "graph.cost"


def test_what_torch_refuses_only_with_data_is_refused_at_once() -> None:
    """Tensors without data accept both of these."""
    assert rule_of(("bitwise_xor.Tensor", QS, QS)) == "graph.arguments"
    assert rule_of(TOTAL, ("add.Tensor", Ref(2), Ref(2), {"alpha": True})) == "graph.arguments"


def test_a_refusal_names_the_operation_and_its_line() -> None:
    with pytest.raises(GraphError, match="mm refuses") as caught:
        infer_shapes(mixing(CARD, ("mm.default", QS, STATE)))
    assert caught.value.rule == "graph.arguments"
