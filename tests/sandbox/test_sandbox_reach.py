"""The search for inputs beside a function's own edges is bounded, and gets where limits are."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox_false_claims import CASES
from sandbox_written_functions import export
from torch import Tensor

import sandbox.reach.reach
from prompts.cards import TaskCard, load_card
from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import CreditGraph
from sandbox.inference import infer_types
from sandbox.reach.probe import Probe
from sandbox.reach.reach import Reached, reach

CLIMBING = load_card("matrix/climbing")


def reached(graph: CreditGraph, card: TaskCard) -> Reached:
    return reach(graph, infer_types(graph), card, card.q_bound(), 0)


def nested(choices: int) -> CreditGraph:
    """A choice within a choice, so many times."""
    source = f"""
def tfcaf(agent_qs, state):
    x = agent_qs.sum(1, keepdim=True)
    for i in range({choices}):
        x = torch.where(state[:, :1] > i * 0.01, x * 1.001, x)
    return x
"""
    return apply_gate(export(source, CLIMBING), GateConfig())


def test_a_long_graph_is_evaluated_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate, count, graph = Probe.values, [0], nested(30)

    def counted(self: Probe, z: Tensor) -> list[Any]:
        count[0] += 1
        return evaluate(self, z)

    monkeypatch.setattr(Probe, "values", counted)
    monkeypatch.setattr(sandbox.reach.reach, "MANY_OPERATIONS", len(graph.operations) // 8)
    reached(graph, CLIMBING)
    bounded, count[0] = count[0], 0
    monkeypatch.setattr(sandbox.reach.reach, "MANY_OPERATIONS", len(graph.operations))
    reached(graph, CLIMBING)
    assert bounded < 0.75 * count[0], (bounded, count)


def test_states_are_moved_to_where_a_limit_leaves_the_qs_little() -> None:
    case = CASES["cap_at_one_place"]  # six columns have to be 2
    card = load_card(case.task)
    found = reached(apply_gate(export(case.source, card), GateConfig()), card)
    assert bool((found.states[:, :6] == 2.0).all(1).any())
