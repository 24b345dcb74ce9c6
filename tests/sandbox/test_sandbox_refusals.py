"""Refusals say what to write instead."""

from __future__ import annotations

import pytest

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.feedback import for_unproved


@pytest.mark.parametrize("order", ["0", "3", "-1", "0.5", "-math.inf", "math.nan"])
def test_a_norm_of_an_uncommon_order_is_refused_with_what_to_write(
    order: str, warm_sandbox: Sandbox
) -> None:
    source = f"""
def tfcaf(agent_qs, state):
    return agent_qs.sum(1, keepdim=True) + state.norm(p={order}, dim=1, keepdim=True)
"""
    report = warm_sandbox.check(source, load_card("matrix/climbing"))
    assert report.rule == "graph.arguments"
    assert "use order 1, 2 or infinity" in report.feedback
    assert "(x != 0).float().sum(dim=1)" in report.feedback


def test_a_gradient_that_many_choices_leave_unproved_is_told_so() -> None:
    deep = for_unproved(["finite_gradient"], "x = torch.where(c, 2 * x, x)")
    assert "used twice" in deep
    assert "sqrt" not in deep
    assert "sqrt" in for_unproved(["finite_gradient"], "x = torch.sqrt(state)")
