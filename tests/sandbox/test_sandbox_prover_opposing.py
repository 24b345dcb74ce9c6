"""Where paths from a Q oppose each other, rounding is held against the state that it occurs in."""

from __future__ import annotations

import pytest
import torch
from sandbox_false_claims import CASES
from sandbox_written_functions import export

from prompts.cards import TaskCard, load_card
from sandbox.config import GateConfig
from sandbox.gate import apply_gate
from sandbox.graph import CreditGraph
from sandbox.inference import infer_types
from sandbox.prover.prove import prove
from sandbox.reach.falls import drawn_rises, falls
from sandbox.runtime import CreditFunction

CLIMBING = load_card("matrix/climbing")
BOUND = CLIMBING.q_bound()

HONEST = {
    "mean and advantages": """
m = agent_qs.mean(1, keepdim=True)
return 2 * m + (torch.softmax(state, 1) * (agent_qs - m)).sum(1, keepdim=True)
""",
    "one weight that may be zero before all of it": """
m = agent_qs.mean(1, keepdim=True)
return torch.relu(state[:, :1]) * (2 * m + (agent_qs - m)[:, :1])
""",
    "beside a weight that is huge elsewhere": """
w = torch.where(state > 0, torch.exp(5 * state), torch.zeros_like(state))
m = agent_qs.mean(1, keepdim=True)
return (w * agent_qs).sum(1, keepdim=True) + 0.5 * (agent_qs - m).sum(1, keepdim=True) + m
""",
    "difference of the agents": """
gap = agent_qs[:, :1] - agent_qs[:, 1:]
return agent_qs.sum(1, keepdim=True) - 0.5 * gap.abs()
""",
    "all less a share": """
share = torch.sigmoid(state)
return agent_qs.sum(1, keepdim=True) - ((1 - share) * agent_qs).sum(1, keepdim=True)
""",
    "beside a large bias": """
b = 1000 * state[:, :1]
return (agent_qs + b - 0.2 * (agent_qs + b)).sum(1, keepdim=True)
""",
    "between mean and best": """
w = torch.sigmoid(state[:, :1])
best = agent_qs.amax(1, keepdim=True)
return torch.lerp(agent_qs.mean(1, keepdim=True), best, 0.4 * w)
""",
    "two layers with weights that may be zero": """
w = state.abs()
h = F.elu(w * agent_qs + state)
return (h * w).sum(1, keepdim=True) - 3.0 * state[:, :1]
""",
    "softplus with a weight that may be zero": """
return (torch.relu(state) * F.softplus(agent_qs)).sum(1, keepdim=True)
""",
    "bent by a condition": """
bent = torch.where(agent_qs > 0, 2 * agent_qs, agent_qs)
return (state.abs() * (bent + F.elu(agent_qs))).sum(1, keepdim=True)
""",
    "written in place": """
h = torch.zeros_like(agent_qs)
for i in range(2):
    h[:, i] = 100 * torch.tanh(agent_qs[:, i] / 100)
h[:, 0] += agent_qs[:, 1]
return (h * state.abs()).sum(1, keepdim=True)
""",
    "soft maximum and minimum": """
soft = torch.logsumexp(agent_qs / 50, 1, keepdim=True) * 50
return soft - torch.logsumexp(-agent_qs + 3 * state, 1, keepdim=True) + 1000 * state[:, :1]
""",
    "logistic loss": """
return (F.logsigmoid(agent_qs / 10) * torch.softmax(state, 1)).sum(1, keepdim=True)
""",
    "norm of the Qs": """
return agent_qs.sum(1, keepdim=True) - 0.5 * agent_qs.norm(dim=1, keepdim=True)
""",
    "below a limit that leaves enough": """
m = agent_qs.mean(1, keepdim=True)
v = 2 * m + (torch.softmax(state, 1) * (agent_qs - m)).sum(1, keepdim=True)
return torch.minimum(v, 10 * state[:, :1]) + F.elu(v - 3 * state[:, 1:])
""",
    "soft maximum below a limit": """
return torch.minimum(torch.logsumexp(agent_qs, 1, keepdim=True), 50 + state[:, :1])
""",
    "beside a small number": """
m = agent_qs.mean(1, keepdim=True)
return ((2 * m + (agent_qs - m)[:, :1]) + 3.0) - 3.0
""",
    "two layers with a bias": """
h = F.elu(state.abs() * agent_qs + state[:, :1])
return (h * state[:, 1:].abs()).sum(1, keepdim=True) + 3 * state[:, :1]
""",
    "size and square of what stays positive": """
m = agent_qs.mean(1, keepdim=True)
v = 2 * m + (agent_qs - m)[:, :1]
return torch.abs(v + 5000.0) + 0.001 * torch.square(v + 5000.0)
""",
    "norm of what is not negative": """
m = agent_qs.mean(1, keepdim=True)
parts = torch.cat([F.relu(2 * m + (agent_qs - m)[:, :1]), F.relu(m)], 1)
return parts.norm(dim=1, keepdim=True) + m
""",
    "a soft maximum under a weight that may be zero, beside a bias": """
soft = torch.logsumexp(agent_qs, 1, keepdim=True) - math.log(2)
return torch.relu(state[:, :1]) * soft + 1000 * state[:, 1:] - 2000.0
""",
    "dropped in some states": """
m = agent_qs.mean(1, keepdim=True)
x = agent_qs - 0.5 * m
return m + torch.where(state > 0, x, torch.zeros_like(x)).sum(1, keepdim=True)
""",
}
OPPOSING = [
    *"weight_next_to_nothing weight_that_is_huge_elsewhere weight_gone_in_a_window".split(),
    *"weight_behind_a_division two_agents_that_oppose offset_in_a_window".split(),
    *"factor_that_nearly_cancels steep_where_a_weight_is_gone".split(),
]
CROSSED = [
    *"product_below_nothing norm_below_nothing size_below_nothing square_below_nothing".split(),
    *"lost_beside_a_number lost_beside_another_agent".split(),
]
CANCELLED = [
    *"terms_that_cancel offset_behind_choices offset_taken_away_in_a_window".split(),
    *"small_offset_taken_away_in_a_window offset_as_a_product offset_as_a_quotient".split(),
    *"offset_by_alpha offset_gathered offset_scattered offset_of_a_curve".split(),
    *"offset_in_many_parts offset_of_a_limit offset_beside_a_matrix".split(),
    *"offset_over_a_divisor offset_of_a_flat_curve offset_added_at_a_place".split(),
]
LIMITED = [
    *"cap_in_a_window hinge_in_a_window least_of_a_list cap_behind_a_factor".split(),
    *"softplus_in_a_window cap_where_two_columns_meet cap_at_one_place".split(),
]


def gated(source: str, card: TaskCard = CLIMBING) -> CreditGraph:
    return apply_gate(export(source, card), GateConfig())


def is_proved_over_reals(source: str, card: TaskCard = CLIMBING) -> bool:
    graph = gated(source, card)
    return prove(graph, infer_types(graph), card).monotone_over_reals


def written(body: str) -> str:
    return "def tfcaf(agent_qs, state):\n    " + "\n    ".join(body.strip().splitlines()) + "\n"


@pytest.mark.parametrize("name", HONEST)
def test_rounding_that_no_state_notices_is_no_hindrance(name: str) -> None:
    assert is_proved_over_reals(written(HONEST[name]))


@pytest.mark.parametrize("name", OPPOSING)
def test_rounding_is_held_against_the_state_that_it_occurs_in(name: str) -> None:
    assert not is_proved_over_reals(CASES[name].source)


@pytest.mark.parametrize("name", CROSSED)
def test_directions_hold_where_float32_is(name: str) -> None:
    assert not is_proved_over_reals(CASES[name].source, load_card(CASES[name].task))


@pytest.mark.parametrize("name", CANCELLED)
def test_what_cancels_leaves_its_rounding(name: str) -> None:
    assert not is_proved_over_reals(CASES[name].source, load_card(CASES[name].task))


@pytest.mark.parametrize("name", LIMITED)
def test_rounding_is_held_against_what_a_limit_leaves(name: str) -> None:
    case = CASES[name]
    assert not is_proved_over_reals(case.source, load_card(case.task))


@pytest.mark.parametrize(
    "body",
    [
        "return agent_qs[:, :1] + 700.0001 * agent_qs[:, 1:] - 700 * agent_qs[:, 1:]",
        "return agent_qs[:, :1] + (700.0001 * agent_qs - 700 * agent_qs).sum(1, keepdim=True)",
        "weights = torch.tensor([[701.0], [700.0001]])\n"
        "return agent_qs @ weights - 700 * agent_qs.sum(1, keepdim=True)",
        "y = agent_qs[:, :1] + 700.0001 * agent_qs[:, 1:] - 700 * agent_qs[:, 1:]\n"
        "return torch.lerp(y, y + 1, torch.sigmoid(state[:, :1]))",
        "w = torch.where(state > 0, 1.0, 1e-4)\n"
        "return ((700 + w) * agent_qs - 700 * agent_qs).sum(1, keepdim=True)",
    ],
)
def test_rounding_is_held_against_what_each_agent_does(body: str) -> None:
    assert not is_proved_over_reals(written(body))


@pytest.mark.parametrize(
    "sum_",
    [
        "(w * v + 4e6) - 4e6",
        "((w * v + 4e6) - 3e6) - 1e6",
        "((w * v + 4e6) / 10 - 4e5) * 10",
        "torch.cat([w * v + 4e6, 0 * w - 4e6], 1).sum(1, keepdim=True)",
        "((w * v + 4e6) - 3.1e6 - 6.9e5 - 1.6e5 - 3.8e4 - 9e3 - 2.3e3 - 7e2)",
    ],
)
def test_what_is_taken_away_again_leaves_its_rounding(sum_: str) -> None:
    window = "w = torch.exp(-(((state[:, 1:] - 1.3) * 30) ** 2))"
    for v in ("torch.logsumexp(agent_qs, 1, keepdim=True)", "(3 * agent_qs - agent_qs)[:, :1]"):
        assert not is_proved_over_reals(written(f"{window}\nv = {v}\nreturn {sum_}"))


@pytest.mark.parametrize(
    ("combined", "kept"),
    [
        ("torch.stack([1000.001 * x, -1000 * x], 2).sum(2)", False),
        ("torch.stack([1000.001 * x, 1000 * x], 2).sum(2)", True),
        ("torch.stack([1000.001 * x, -1000 * x], 2) @ torch.ones(2)", False),
        ("torch.stack([x, x], 2) @ torch.tensor([1000.001, -1000.0])", False),
        ("torch.stack([x, x], 2) @ torch.tensor([1000.001, 1000.0])", True),
        ("torch.stack([1000.001 * x, -1000 * x], 2).cumsum(2)[:, :, 1]", False),
        ("torch.lerp(1000.001 * x, x, 1.001) + x", False),
        ("torch.where(state > 0, x, 1000.001 * x - 1000 * x)", False),
        ("100 * torch.tanh((1000.001 * x - 1000 * x) / 100)", False),
        ("torch.maximum(x - 1e4, 1000.001 * x - 1000 * x)", False),
    ],
)
def test_however_opposing_paths_meet(combined: str, kept: bool) -> None:
    body = f"x = F.elu(agent_qs)\ny = {combined}\nw = torch.exp(10 * state)"
    assert is_proved_over_reals(written(f"{body}\nreturn (w * x + y).sum(1, keepdim=True)")) is kept


def found(source: str) -> list[tuple[int, float]]:
    """Falls that a few thousand rows show."""
    function = CreditFunction(gated(source))
    draw = torch.Generator().manual_seed(1)
    state = torch.randint(-1, 3, (2_048, 2), generator=draw).float()
    size = 10.0 ** (4 * torch.rand(2_048, 1, generator=draw) - 1)
    qs = (torch.randn(2_048, 2, generator=draw) * size).clamp(-BOUND, BOUND)
    return list(drawn_rises(function, qs, state, function(qs, state), BOUND))


@pytest.mark.parametrize("name", OPPOSING[:-1])
def test_a_few_rises_show_where_float32_falls(name: str) -> None:
    assert found(CASES[name].source)


@pytest.mark.parametrize("name", HONEST)
def test_no_rise_makes_a_fall_of_what_rounds_as_usual(name: str) -> None:
    assert not found(written(HONEST[name]))


def test_a_fall_is_measured_by_what_the_qs_do_in_its_own_state() -> None:
    function = CreditFunction(
        gated(written("return (state.abs() * agent_qs).sum(1, keepdim=True)"))
    )
    qs, state = torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [1e-6, 0.0]])
    before = torch.zeros(2, 1)
    # 4,096 of difference in the first state, and 0.002 in the second
    assert falls(function, qs, state, before, before - 5e-5, BOUND).tolist() == [[False], [True]]
    assert falls(function, qs, state, before, before - 3e-4, BOUND).tolist() == [[True], [True]]
    assert falls(function, qs, state, before, before + 1.0, BOUND).tolist() == [[False], [False]]
