"""Mistakes whose meaning is certain are mended, and nothing that works is read otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.report import CheckReport
from sandbox.runtime import CreditFunction

CARD = load_card("lbf/8x8-2p-2f-coop-2s")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def check(box: Sandbox, body: str, parameters: str = "agent_level, food_level") -> CheckReport:
    lines = "\n    ".join(body.strip().splitlines())
    return box.check(f"def tfcaf({parameters}):\n    {lines}\n", CARD)


def value(report: CheckReport) -> torch.Tensor:
    """q_tot of some moments."""
    assert report.accepted, report.feedback
    assert report.graph is not None
    draw = torch.Generator().manual_seed(0)
    state = torch.randint(0, 4, (16, CARD.state_dim), generator=draw).float()
    qs = torch.rand(16, CARD.n_agents, generator=draw)
    return CreditFunction(report.graph)(qs, state)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (
            "x = torch.where(agent_level > 1 and food_level > 0, 2.0, 1.0)\nreturn x, 0",
            "x = torch.where((agent_level > 1) & (food_level > 0), 2.0, 1.0)\nreturn x, 0",
        ),
        (
            "x = torch.where(0 < food_level < 2 or agent_level > 1, 2.0, 1.0)\nreturn x, 0",
            "m = ((0 < food_level) & (food_level < 2)) | (agent_level > 1)\n"
            "x = torch.where(m, 2.0, 1.0)\nreturn x, 0",
        ),
        (
            "share = share(agent_level)\nreturn share, 0",
            "x = share(agent_level)\nreturn x, 0",
        ),
        (
            "count = count(food_level > 0)\ncount = count + 1\nreturn agent_level * count, 0",
            "x = count(food_level > 0) + 1\nreturn agent_level * x, 0",
        ),
        ("return torch.maximum(agent_level, 2.0), 0", "return agent_level.clamp(min=2.0), 0"),
        ("return torch.min(3, agent_level), 0", "return agent_level.clamp(max=3), 0"),
        ("return torch.max(agent_level, 1.5), 0", "return agent_level.clamp(min=1.5), 0"),
        (
            "far = agent_level @ food_level\nfurther = far + 1\nreturn agent_level, 0",
            "return agent_level, 0",
        ),
        (
            "for i in range(2):\n    y = agent_level[:, :, i]\nreturn agent_level, 0",
            "return agent_level, 0",
        ),
    ],
)
def test_a_mistake_with_one_meaning_is_mended(box: Sandbox, wrong: str, right: str) -> None:
    mended, written = check(box, wrong), check(box, right)
    assert torch.equal(value(mended), value(written))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("share = share(agent_level)\nreturn share, 0", "share called though a variable has"),
        ("y = agent_level @ food_level\nreturn agent_level, 0", "y left out, since nothing uses"),
    ],
)
def test_a_mend_is_said(box: Sandbox, body: str, said: str) -> None:
    assert said in check(box, body).feedback


@pytest.mark.parametrize(
    "body",
    [
        "near = agent_level + 1\nreturn near, 0",
        "n = 2 if 1 > 0 and 2 > 1 else 3\nreturn n * agent_level, 0",
        "x = [i for i in range(3) if i > 0 and i < 2]\nreturn x[0] * agent_level, 0",
        "unused = agent_level.sum(1)\nreturn agent_level, 0",
        "y = agent_level\ny += 1\nreturn agent_level, 0",
        "v, i = torch.max(agent_level, 1)\nreturn agent_level * v.unsqueeze(1), 0",
    ],
)
def test_what_works_is_read_as_it_is(box: Sandbox, body: str) -> None:
    report = check(box, body, "agent_level")
    assert "Taken as meant" not in report.feedback
    names = {"torch": torch}
    exec("def tfcaf(agent_level):\n    " + "\n    ".join(body.splitlines()), names)  # noqa: S102
    level = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    if not report.accepted:  # it writes into its argument
        assert report.rule == "export.mutates_input", report.feedback
        return
    state = torch.zeros(2, CARD.state_dim)
    places = [at for s, at in CARD.offsets() if s.name in ("agent0_level", "agent1_level")]
    state[:, places] = level
    weights, _ = names["tfcaf"](level)  # type: ignore[operator]
    assert report.graph is not None
    qs = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found = CreditFunction(report.graph)(qs, state).squeeze(1)
    assert torch.equal(found, weights.abs().diagonal())


_UNUSED = "b = float(agent_level[0, 0])\n"
"""Works in plain PyTorch, fails in a trace, and is used by nothing."""


@pytest.mark.parametrize(
    ("body", "factor"),
    [
        ("n = 6\nf = (n & 4) and (n & 2)\nreturn agent_level * f, 0", 2.0),
        ("w = [1.0]\nfs = [w.append]\na = fs[0](5.0)\nreturn agent_level * sum(w), 0", 6.0),
        ("g = (x for x in [1.0, 2.0])\na = sum(g)\nreturn agent_level * (1 + sum(g)), 0", 1.0),
        ("s = dict(a=1.0, b=2.0)\na = s.popitem()\nreturn agent_level * sum(s.values()), 0", 1.0),
        (
            "w = [1.0]\n\ndef grow(k):\n    w.append(k)\n    return k\n\n"
            "a = grow(5.0)\nreturn agent_level * sum(w), 0",
            6.0,
        ),
        (
            "w = [1.0]\n\ndef grow(k):\n    w.append(k)\n    return k\n\n"
            "a = 0 > 1 and grow(5.0) > 0\nreturn agent_level * sum(w), 0",
            1.0,
        ),
        (
            "one = torch.tensor([1.0])\ntwo = torch.tensor([1.0, -1.0])\n"
            "c = one > 0 or two > -2\nreturn agent_level * c.sum(), 0",
            1.0,
        ),
        ("share = [abs][0]\nreturn share(agent_level * 3), 0", 3.0),
    ],
)
@pytest.mark.parametrize("unused", ["", _UNUSED])
def test_a_mend_changes_no_meaning(box: Sandbox, body: str, factor: float, unused: str) -> None:
    report = check(box, unused + body, "agent_level")
    if report.accepted:
        assert torch.equal(value(report), value(check(box, f"return agent_level * {factor}, 0")))


@pytest.mark.parametrize(
    "body",
    [
        "y = open('/etc/passwd')\nreturn agent_level, 0",
        "y = agent_level.__class__\nreturn agent_level, 0",
        "y = eval('1')\nreturn agent_level, 0",
    ],
)
def test_what_is_forbidden_is_refused_though_nothing_uses_it(box: Sandbox, body: str) -> None:
    assert check(box, body).stage == "policy"


@pytest.mark.parametrize(
    "body",
    [
        "kept = []\ny = kept.append(agent_level @ food_level)\nreturn agent_level, 0",
        "y = agent_level.add_(food_level[:, :, 0])\nreturn agent_level, 0",
        "y = (z := agent_level @ food_level)\nreturn agent_level + z, 0",
        "if agent_level > 1 and food_level > 0:\n    x = 1\nreturn agent_level, 0",
    ],
)
def test_what_may_change_something_is_not_left_out(box: Sandbox, body: str) -> None:
    assert not check(box, body).accepted
