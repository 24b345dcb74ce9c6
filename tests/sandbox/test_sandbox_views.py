"""Functions of named views, and what a model is told of shapes that do not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import jinja2
import pytest
import torch

from prompts.cards import load_card
from prompts.schema import StateSlice
from prompts.templates import PROMPTS_DIR
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


def test_a_plural_stands_for_the_one_view_that_it_can_be(box: Sandbox) -> None:
    assert check(
        box, "def tfcaf(agents_level, foods_levels):\n    return agents_level, 0\n", LBF
    ).accepted
    twice = check(box, "def tfcaf(agents_level, agent_level):\n    return agent_level, 0\n", LBF)
    assert twice.rule == "policy.signature"


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
    report = check(box, "def tfcaf(agent_pos):\n    return agent_pos, 0\n", LBF)
    assert report.rule == "policy.signature"
    assert "there is no `agent_pos`: did you mean `agent_position`?" in report.feedback
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


def test_no_remedy_is_said_where_rows_are_in_different_places(box: Sandbox) -> None:
    source = """
        def tfcaf(agent_level, food_level):
            return agent_level.unsqueeze(1) + food_level.unsqueeze(0).expand(2, -1, -1), 0
    """
    report = check(box, source, LBF)
    assert "is [2, B, 2]" in report.feedback
    assert "write `" not in report.feedback


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


def test_vectors_in_place_of_positions_are_told_of_their_length(box: Sandbox) -> None:
    source = """
        def tfcaf(agent_position, agent_landmarks):
            d = pairwise_distance(agent_position, agent_landmarks)
            return near(d.amin(dim=2)), 0
    """
    assert "vectors from each a is `length(b)`" in check(box, source, "mpe/spread-3").feedback
    mended = source.replace("pairwise_distance(agent_position, agent_landmarks)", "length(x)")
    assert check(box, mended.replace("(x)", "(agent_landmarks)"), "mpe/spread-3").accepted


# ---- what is certain is read as meant ------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "result", "note"),
    [
        ("agent_level", "agent_level", "no bias was returned: it is taken as zero"),
        ("agent_level", "agent_level, 0", ""),
        ("agent_level", "agent_level, 0.5", "the bias 0.5 is taken for every row"),
        ("agent_level", "agent_level, agent_level[:, 0]", "bias [B] is taken as [B, 1]"),
        ("agent_level", "agent_level, torch.zeros(1)", "a bias without rows"),
        ("agent_level", "torch.ones(2), 0", "weights without rows"),
        ("agent_level", "agent_level.unsqueeze(2), 0", "weights [B, n, 1] are taken as [B, n]"),
        (
            "agent_qs, agent_level",
            "(agent_qs * agent_level).sum(1)",
            "q_tot [B] is taken as [B, 1]",
        ),
        (
            "agent_level",
            "agent_level, agent_level[:, :1], agent_level.sum(1)",
            "what is returned behind weights and bias is left out",
        ),
        ("agent_level", "agent_level * agent_level[:, 0], 0", "[B] beside [B, k] is taken as"),
        ("agent_level", "agent_level, agent_level[:, :1] - agent_level[:, 1]", "[B] beside [B, k]"),
        ("agent_level", "torch.where(agent_level[:, 0] > 1, agent_level, 1.0), 0", "[B] beside"),
        ("agent_level", "agent_level * food_level, 0", "food_level taken as a parameter, too"),
        ("agent_level", "(agent_qs * agent_level).sum(1, keepdim=True)", "agent_qs taken as a"),
        ("agent_level", "agent_level + torch.zeros(B, 2), torch.zeros(B, 1)", ""),
    ],
)
def test_a_result_with_one_reading_is_taken_and_said(
    box: Sandbox, form: str, result: str, note: str
) -> None:
    report = check(box, f"def tfcaf({form}):\n    return {result}\n", LBF)
    assert report.accepted, report.feedback
    assert (note in report.feedback) if note else ("Taken" not in report.feedback)


@pytest.mark.parametrize("card", [LBF, "mpe/spread-3"])
def test_rows_are_lined_up_the_same_way_in_a_batch_of_any_size(box: Sandbox, card: str) -> None:
    name = "agent_level" if card == LBF else "agent_velocity[..., 0]"
    n = load_card(card).n_agents
    source = f"def tfcaf({name.partition('[')[0]}):\n    x = {name}\n    own = torch.arange({n})\n"
    source += "    return x * x[:, 0] + own, x[:, 1] - x[:, :1]\n"
    report = check(box, source, card)
    assert report.accepted, report.feedback
    assert report.graph is not None
    run, batch = CreditFunction(report.graph), load_card(card).state_dim
    state = torch.rand(n, batch, generator=torch.Generator().manual_seed(0))
    qs = torch.ones(n, n)
    together = run(qs, state)
    alone = torch.cat([run(qs[i : i + 1], state[i : i + 1]) for i in range(n)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize(
    "source",
    [
        "def tfcaf(agent_level):\n    return agent_level * fire_level, 0\n",
        "def tfcaf(agent_level):\n    food_level = food_level * 2\n    return food_level, 0\n",
        "def tfcaf(agent_level):\n    return other(agent_level), 0\n\n"
        "def other(x):\n    return x * food_level\n",
    ],
)
def test_a_name_that_is_no_documented_one_or_set_elsewhere_is_no_parameter(
    box: Sandbox, source: str
) -> None:
    assert not check(box, source, LBF).accepted


@pytest.mark.parametrize(
    "result", ["agent_level[:, :1], 0", "agent_level.sum(1)", "agent_level, []"]
)
def test_a_result_with_more_readings_is_refused(box: Sandbox, result: str) -> None:
    report = check(box, f"def tfcaf(agent_level):\n    return {result}\n", LBF)
    assert report.stage == "export"


def test_what_stands_behind_the_function_is_left_out(box: Sandbox) -> None:
    source = """
        import torch as t

        def tfcaf(agent_level):
            return t.ones_like(agent_level) * SCALE, 0

        SCALE = 2.0
        state = t.rand(3, 14)
        print(tfcaf(state))
        for i in range(3):
            print(i)
        if __name__ == "__main__":
            tfcaf(state)
    """
    assert check(box, source, LBF).accepted


def test_the_example_in_the_prompt_is_accepted(box: Sandbox) -> None:
    place = {"shape": (2,), "kind": "integer", "low": 0, "high": 9, "meaning": "cell"}
    size = {"shape": (1,), "kind": "integer", "low": 0, "high": 3, "meaning": "size"}
    state = [StateSlice(name=f"agent{i}_place", agent=i, **place) for i in range(3)]
    state += [StateSlice(name=f"agent{i}_water", agent=i, **size) for i in range(3)]
    for i in range(2):
        state.append(StateSlice(name=f"fire{i}_place", **place))
        state.append(StateSlice(name=f"fire{i}_size", **size))
    changed = {"state": tuple(state), "start_state": None}
    card = load_card("matrix/climbing-3p").model_copy(update=changed)
    example = jinja2.Template((PROMPTS_DIR / "coder" / "example.py.j2").read_text())
    source = example.render(guided=False)
    report = box.check(source, card)
    assert report.accepted, report.feedback
    assert report.feedback == ""
