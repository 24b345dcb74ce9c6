"""What is no reason to reject is still said, with an example in the card's names."""

from __future__ import annotations

import pytest

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.claims import PropertyResult

CLIMBING, PENALTY = load_card("matrix/climbing"), load_card("matrix/penalty-25")

CASES = {
    "exchangeable": (
        PENALTY,
        "def f(agent_qs, state):\n    return agent_qs[:, :1] * 2.0 + agent_qs[:, 1:]\n",
        "agents 0 and 1 are exchangeable",
    ),
    "float_precision": (
        CLIMBING,
        "def f(agent_qs, state):\n    x = agent_qs.sum(1, keepdim=True)\n"
        "    return (x + 3.0e8) - 3.0e8 + 0.001 * x\n",
        "where float64 gives",
    ),
    "outside_ranges": (
        CLIMBING,
        "def f(agent_qs, state):\n"
        "    return agent_qs.sum(1, keepdim=True) + torch.log(state + 2.0).sum(1, keepdim=True)\n",
        "outside the declared ranges q_tot is nan: state last_action[0]=-4",
    ),
}


def _property(report_properties: tuple[PropertyResult, ...], name: str) -> PropertyResult:
    return next(p for p in report_properties if p.name == name)


@pytest.mark.parametrize("name", CASES)
def test_a_tendency_is_a_warning_with_an_example(name: str, warm_sandbox: Sandbox) -> None:
    card, source, said = CASES[name]
    report = warm_sandbox.check(source, card)
    found = _property(report.properties, name)
    assert report.accepted, report.feedback
    assert found.status == "warn"
    assert said in found.detail
    assert said in report.feedback


def test_a_plain_sum_has_none_of_them(warm_sandbox: Sandbox) -> None:
    source = "def f(agent_qs, state):\n    return agent_qs.sum(1, keepdim=True)\n"
    report = warm_sandbox.check(source, PENALTY)
    assert [_property(report.properties, name).status for name in CASES] == ["pass"] * 3


@pytest.mark.parametrize(
    ("index", "status"),
    [
        ("torch.sin(state[:, :1]).long()", "warn"),  # always 0, but that is not seen
        ("state[:, :1].long().clamp(0, 1)", "proved"),
    ],
)
def test_an_index_is_proved_in_bounds_or_said_to_be_clamped(
    index: str, status: str, warm_sandbox: Sandbox
) -> None:
    source = (
        f"def f(agent_qs, state):\n    at = {index}\n"
        "    return agent_qs.sum(1, keepdim=True) + state.gather(1, at)\n"
    )
    report = warm_sandbox.check(source, CLIMBING)
    assert report.accepted, report.feedback
    assert _property(report.properties, "indices_in_bounds").status == status
    assert report.evidence == 0.0
