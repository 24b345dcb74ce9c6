"""Proving by cases: parts cover the whole box, and prove what bounds alone cannot."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_brute_force import refute
from sandbox_small_graphs import QS, STATE, mixing, proof_of, small_card
from sandbox_written_functions import export

from prompts.cards import TaskCard, load_card
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import DTypeArg, Ref
from sandbox.inference import infer_types
from sandbox.prover.prove import _Prover
from sandbox.prover.splitting import Box, Range, _cut, parts, rounded_outward
from sandbox.prover.walk import Budget, Walk

whole_ends = st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(
    lambda e: (float(e[0]), float(e[0] + e[1]))
)
real_ends = st.tuples(st.floats(-9, 9), st.floats(0, 9)).map(lambda e: (e[0], e[0] + e[1]))
thresholds = st.lists(st.floats(-12, 20), max_size=5).map(sorted)


def inside(x: float, ranges: list[Range]) -> int:
    return sum(low <= x <= high for low, high in ranges)


@given(whole_ends, thresholds)
def test_whole_numbers_fall_into_one_part_each(ends: Range, at: list[float]) -> None:
    ranges = _cut(ends, at, True)
    for x in range(int(ends[0]), int(ends[1]) + 1):
        assert inside(float(x), ranges) == 1
    for low, high in ranges:
        for t in at:
            answers = {(x < t, x > t) for x in range(int(low), int(high) + 1)}
            assert len(answers) == 1, "a comparison must have one answer within a part"


@given(real_ends, thresholds, st.floats(0, 1))
def test_numbers_of_float32_fall_into_one_part_each(
    ends: Range, at: list[float], share: float
) -> None:
    """Those that float32 makes of the ends among them, where it does not hold these."""
    at = sorted([*at, *ends]) if share > 0.5 else at
    ranges = _cut(rounded_outward(*ends), at, False)
    near = [np.nextafter(np.float32(t), np.float32(d)) for t in at for d in (-math.inf, math.inf)]
    tried = [*ends, ends[0] + share * (ends[1] - ends[0]), *map(float, np.float32(at)), *near]
    low, high = np.float32(ends)
    for x in np.float32(tried):
        if low <= x <= high:
            assert inside(float(x), ranges) == 1, (x, ranges)


def test_an_end_and_a_sentinel_that_float32_rounds_outward_are_in_a_part() -> None:
    card = TaskCard.model_validate(
        {
            **small_card().model_dump(mode="json", exclude_none=True),
            "state": [
                {"name": "amount", "shape": [2], "kind": "real", "low": 0.0, "high": 1.001,
                 "meaning": "made up", "sentinels": [-0.1], "sentinel_meaning": "eaten"},
            ],
        }
    )  # fmt: skip
    for op, limit in (("eq.Scalar", -0.1), ("ge.Scalar", 1.001)):
        graph = mixing(
            card,
            (op, STATE, limit),
            ("gt.Scalar", STATE, 0.5),
            ("_to_copy.default", Ref(3), {"dtype": DTypeArg("float")}),
            ("add.Scalar", Ref(4), 1.0),
            ("where.ScalarSelf", Ref(2), -1.0, Ref(5)),
            ("mul.Tensor", Ref(6), QS),
            ("sum.dim_IntList", Ref(7), (1,), True),
        )
        assert not proof_of(graph, card).monotone, op
        refute(apply_gate(graph, GateConfig()), card, 1)


MASKS = """
def tfcaf(agent_qs, state):
    m = (state[:, :1] == 2).float()
    w = m - (1 - m) + 2 * (1 - m)
    return w * agent_qs[:, :1] + agent_qs[:, 1:]
"""
POLE = """
def tfcaf(agent_qs, state):
    x = state.view(-1, 3, 18)[:, :, 4]
    m = (x > 0.25).float()
    return (agent_qs / (m * x + (1 - m))).sum(1, keepdim=True)
"""
LOG_OF_Q = """
def tfcaf(agent_qs, state):
    m = (agent_qs > 1.0).float()
    return agent_qs.sum(1, keepdim=True) + torch.log(m * agent_qs + 1 - m).sum(1, keepdim=True)
"""
FALLS_ACROSS = """
def tfcaf(agent_qs, state):
    m = (agent_qs > 1.0).float()
    return (agent_qs - 0.5 * m).sum(1, keepdim=True)
"""


@pytest.mark.parametrize(
    ("task", "source", "igm", "finite"),
    [
        ("matrix/climbing", MASKS, "proved", "proved"),
        ("mpe/spread-3", POLE, "proved", "proved"),
        ("matrix/climbing", LOG_OF_Q, "tested", "proved"),
        ("matrix/climbing", FALLS_ACROSS, "violated", "proved"),
    ],
)
def test_masks_are_followed_case_by_case(
    task: str, source: str, igm: str, finite: str, warm_sandbox: Sandbox
) -> None:
    report = warm_sandbox.check(source, load_card(task))
    assert (report.igm, report.finite) == (igm, finite), report.feedback


def test_a_graph_that_compares_everything_is_followed_within_bounds(warm_sandbox: Sandbox) -> None:
    source = """
def tfcaf(agent_qs, state):
    m = sum((state > k).float() for k in range(8))
    return (agent_qs * (m - m * m)[:, :4]).sum(1, keepdim=True)
"""
    report = warm_sandbox.check(source, load_card("lbf/15x15-4p-3f-2s"))
    assert report.igm == "violated"
    assert report.seconds["prove"] < 20


REPLAYED = """
def tfcaf(agent_qs, state):
    x = state[:, :1] * 0.37
    y = x
    for k in range(9):
        y = torch.tanh(y) * 1.01
    t = agent_qs.sum(1, keepdim=True)
    for k in range(16):
        t = t + torch.where(x > 0.001 * k, y, 0.5)
    for j in range(1, 5):
        t = t + (state[:, j : j + 1] > 0.1).float()
    a = state[:, 5:6]
    return t + torch.log((a - a) + 1.0)
"""


def test_replays_count_as_steps_and_end_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    card = load_card("mpe/spread-3")
    graph = apply_gate(export(REPLAYED, card), GateConfig())
    types, own = infer_types(graph), 2 * len(graph.operations)
    taken = 0
    step = Walk.step

    def counted(walk: Walk, number: int, values: Any) -> Any:
        nonlocal taken
        taken += 1
        return step(walk, number, values)

    monkeypatch.setattr(Walk, "step", counted)
    prover = _Prover(graph, types, card.q_bound(), Budget(1_000))
    _, every = prover.within(Box.of(card))
    assert own < taken < 1_000 + 100
    assert prover.affords == 0
    prover = _Prover(graph, types, card.q_bound(), Budget(4_000))
    taken = 0
    prover.within(Box.of(card))
    once = taken
    boxes = parts(graph, types, Box.of(card), every, agent_qs=False, most=prover.affords)
    assert 1 < len(boxes) <= prover.affords
    prover.by_cases(boxes)
    assert taken < 4_000 + once
