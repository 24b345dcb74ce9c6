"""Functions of named views, and what a model is told of shapes that do not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import pytest
import torch

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.report import CheckReport
from sandbox.runtime import CreditFunction

LBF = "lbf/8x8-2p-2f-coop-2s"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def check(box: Sandbox, source: str, task: str) -> CheckReport:
    return box.check(textwrap.dedent(source), load_card(task))


def q_tot(report: CheckReport, qs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    assert report.graph is not None, report.feedback
    return CreditFunction(report.graph)(qs, states)


def test_views_are_the_columns_that_they_name(box: Sandbox) -> None:
    named = """
        def tfcaf(agent_level, food_position, agent1_position):
            weights = agent_level + food_position.sum(dim=2) + agent1_position
            return weights, agent_level[:, :1]
    """
    by_column = """
        def tfcaf(state):
            levels = state[:, [2, 5]]
            foods = torch.stack([state[:, 6] + state[:, 7], state[:, 9] + state[:, 10]], dim=1)
            return levels + foods + state[:, 3:5], state[:, 2:3]
    """
    rng = torch.Generator().manual_seed(0)
    qs, states = torch.randn(50, 2, generator=rng), torch.randint(0, 7, (50, 14), generator=rng)
    made = [q_tot(check(box, s, LBF), qs, states.float()) for s in (named, by_column)]
    assert torch.equal(*made)


def test_agent_qs_among_the_views_makes_the_mixing_form(box: Sandbox) -> None:
    source = """
        def tfcaf(agent_landmarks, agent_qs):
            near = agent_landmarks.norm(dim=-1).amin(dim=2)
            return (agent_qs * (1 + torch.sigmoid(-near))).sum(dim=1, keepdim=True)
    """
    report = check(box, source, "mpe/spread-3")
    assert (report.verdict, report.signature, report.igm) == ("accepted", "mixing", "proved")
    assert "agent1_landmarks[0,0]" in str(report.mathematics)


def test_a_name_that_no_view_has_is_told_with_the_nearest(box: Sandbox) -> None:
    report = check(box, "def tfcaf(agent_positions):\n    return agent_positions, 0\n", LBF)
    assert report.rule == "policy.signature"
    assert "there is no `agent_positions`: did you mean `agent_position`?" in report.feedback
    assert "food_level [B, 2 foods]" in report.feedback


@pytest.mark.parametrize(
    "parameters", ["agent_level, agent_level", "agent_level, *state", "agent_qs"]
)
def test_parameters_that_do_not_bind_are_refused(box: Sandbox, parameters: str) -> None:
    report = check(box, f"def tfcaf({parameters}):\n    return 1\n", LBF)
    assert report.stage == "policy"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "x = agent_level * agent_position",
            "`agent_level` is [B, 2], `agent_position` is [B, 2, 2]",
        ),
        (
            "x = agent_position[:, :, 0] - torch.cat([agent_level, food_level], 1)",
            "write `agent_position[:, :, 0].unsqueeze(2)` and",
        ),
        ("x = agent_position[:, :, 2]", "`agent_position` is [B, 2, 2]"),
        (
            "x = torch.cat([agent_position, agent_level], dim=1)",
            "write `agent_level.unsqueeze(-1)`, so that it goes with [B, 2, 2]",
        ),
        (
            "x = agent_position.sum(2).matmul(agent_level)",
            "`agent_position.sum(2)` is [B, 2], `agent_level` is [B, 2]",
        ),
    ],
)
def test_a_shape_that_does_not_fit_is_told_with_its_operands(
    box: Sandbox, body: str, told: str
) -> None:
    source = f"def tfcaf(agent_level, agent_position, food_level):\n    {body}\n    return x, x\n"
    if "agent_level * agent_position" in body:
        task = "lbf/10x10-3p-3f-2s"
        told = told.replace("[B, 2]", "[B, 3]").replace("[B, 2, 2]", "[B, 3, 2]")
    else:
        task = LBF
    report = check(box, source, task)
    assert report.stage == "export"
    assert "line 2" in report.feedback
    assert told in report.feedback


def test_operands_inside_a_helper_are_told_by_the_helpers_own_names(box: Sandbox) -> None:
    source = """
        def share(near, far):
            return near / (near +
                           far)

        def tfcaf(agent_landmarks):
            return share(agent_landmarks, agent_landmarks.sum(dim=3)), 0
    """
    report = check(box, source, "mpe/spread-3")
    assert "`near` is [B, 3, 3, 2], `far` is [B, 3, 3]" in report.feedback
