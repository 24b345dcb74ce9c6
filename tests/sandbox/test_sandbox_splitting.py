"""Proving by cases: parts cover the whole box, and prove what bounds alone cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.prover.splitting import Range, _cut

whole_ends = st.tuples(st.integers(-9, 9), st.integers(0, 9)).map(
    lambda e: (float(e[0]), float(e[0] + e[1]))
)
real_ends = st.tuples(st.floats(-9, 9, width=32), st.floats(0, 9, width=32)).map(
    lambda e: (e[0], float(np.float32(e[0] + e[1])))
)
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
    ranges = _cut(ends, at, False)
    near = [np.nextafter(np.float32(t), np.float32(d)) for t in at for d in (-math.inf, math.inf)]
    tried = [*ends, ends[0] + share * (ends[1] - ends[0]), *map(float, np.float32(at)), *near]
    for x in map(float, np.float32(tried)):
        if ends[0] <= x <= ends[1]:
            assert inside(x, ranges) == 1, (x, ranges)


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
