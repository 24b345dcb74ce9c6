"""More sources that would mean another thing in plain Python than the graph that is judged."""

from __future__ import annotations

import pytest
import torch

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.runtime import CreditFunction

CARD = load_card("matrix/climbing")
SPREAD = load_card("mpe/spread-3")
RETURN = "    return torch.ones_like(state) * W, state[:, :1] * 0.0\n"

_BEHIND = {
    "out": "torch.add(W, 99.0, out=W)",
    "init": "torch.nn.init.constant_(W, 99.0)",
    "in place": "print(F.relu(W, inplace=True))",
    "numpy": "W.numpy().fill(7.0)",
    "unbound method": "list.reverse(W)",
    "walrus": "if (y := W): y[0] = 9.0",
    "lambda": "(lambda y: y.insert(0, 9.0))(W)",
    "comprehension": "v = [W]\nprint([u.mul_(5.0) for u in v])",
}


@pytest.mark.parametrize("name", _BEHIND)
def test_nothing_behind_the_functions_touches_what_they_read(
    name: str, warm_sandbox: Sandbox
) -> None:
    source = f"W = torch.ones(2)\n\ndef tfcaf(state):\n{RETURN}\n\n{_BEHIND[name]}\n"
    assert warm_sandbox.check(f"```python\n{source}```", CARD).rule == "policy.behind"


@pytest.mark.parametrize("columns", ["state[:, : state.shape[0]]", "agent_qs[:, :len(state)]"])
def test_the_number_of_rows_ends_no_slice_of_columns(columns: str, warm_sandbox: Sandbox) -> None:
    """It would be as many columns as the batch has rows, where that is less."""
    source = (
        f"def tfcaf(agent_qs, state):\n    rare = ({columns} > 1.5).float().sum(1, keepdim=True)\n"
        "    return ((1.0 + rare) * agent_qs).sum(1, keepdim=True)\n"
    )
    report = warm_sandbox.check(source, CARD)
    assert (report.verdict, report.stage) == ("rejected", "export"), report.feedback


_INSIDE = {
    "assert torch.mul(w, 100.0, out=w).min() >= 0": "policy.assert",
    "assert F.relu(w, inplace=True).min() >= 0": "policy.assert",
    "assert [2.0, 1.0].sort() is None": "policy.assert",
    "assert len(list(zip([0], [1.0]))) == 1": "policy.assert",
    "len = w.sum\n    assert len(w) > 0": "policy.assert",
    "x: torch.mul(w, 99.0, out=w) = w": "policy.annotation",
    "assert torch.isfinite(w).all() and w.dim() == 2 and len(w.shape) == 2": None,
    "assert isinstance(w, torch.Tensor) and w.sum(dim=1).min() > 0": None,
}


@pytest.mark.parametrize("line", _INSIDE)
def test_what_is_left_out_inside_changes_nothing(line: str, warm_sandbox: Sandbox) -> None:
    body = f"    w = torch.ones_like(state)\n    {line}\n    return w, state[:, :1] * 0.0\n"
    assert warm_sandbox.check(f"def tfcaf(state):\n{body}", CARD).rule == _INSIDE[line]


def test_a_list_behind_a_bound_method_is_kept_too(warm_sandbox: Sandbox) -> None:
    source = (
        "take = [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0].pop\n\n"
        "def tfcaf(state):\n    return torch.ones_like(state) * take(), state[:, :1] * 0.0\n"
    )
    assert warm_sandbox.check(source, CARD).rule == "export.state"


@pytest.mark.parametrize(
    "line", ["x[:, 0:3] /= x[:, 0:1]", "x[:, 1:] += x[:, :-1]", "x[:, :] += x[:, 0:1]"]
)
def test_an_item_is_not_changed_by_a_view_of_itself(line: str, warm_sandbox: Sandbox) -> None:
    body = f"    x = state[:, 0:3].abs() + 1.0\n    {line}\n    return x, state[:, :1] * 0.0\n"
    report = warm_sandbox.check(f"def tfcaf(state):\n{body}", SPREAD)
    assert (report.verdict, report.stage) == ("rejected", "export"), report.feedback


_RARE = """
def tfcaf(agent_qs, state):
    m = torch.floor(state * 997.0)
    hit = ((m - 7.0 * torch.floor(m / 7.0)) == 3.0).float()
    rare = (hit[:, 0:10].sum(dim=1, keepdim=True) >= 10.0)
    up = 1.0 + torch.relu(agent_qs).sum(dim=1, keepdim=True)
    x = torch.where(rare, 1e-21, 1.0) * up
    s = agent_qs.sum(dim=1, keepdim=True)
    return """


@pytest.mark.parametrize(
    "result",
    [
        "s - 1e-30 / (torch.where(rare, 1e-21, 1.0) * (1 + torch.sigmoid(agent_qs).sum(1, True)))",
        "s - 1e-25 * torch.rsqrt(torch.where(rare, 1e-28, 1.0) * up)",
        "s - 1e-25 * torch.pow(x, -1.5)",
        "s + 1e-20 * torch.floor(-1.0 / (torch.where(rare, 1e-20, 1.0) * up))",
        "1e5 * F.softplus(s, 1.0, 79.0)",
        "1e30 * F.softplus(s)",
    ],
)
def test_a_derivative_that_overflows_by_itself_is_not_proved_finite(
    result: str, warm_sandbox: Sandbox
) -> None:
    report = warm_sandbox.check(f"{_RARE}{result}\n", SPREAD)
    assert report.verdict == "rejected"
    assert report.rule == "properties.finite_gradient", report.feedback


def test_ordinary_softplus_stays_proved(warm_sandbox: Sandbox) -> None:
    source = "def tfcaf(agent_qs, state):\n    return F.softplus(agent_qs).sum(1, keepdim=True)\n"
    assert warm_sandbox.check(source, CARD).accepted


_SUM = "def tfcaf(agent_qs, state):\n    return (agent_qs * torch.tensor(W)).sum(1, keepdim=True)\n"


@pytest.mark.parametrize(
    "source",
    [
        f"W = [1.0, 2.0]\ndef scale(k):\n    W[0] = k\n{_SUM}result = scale(5.0)\n",
        f"W = [1.0, 2.0]\ndef scale(k):\n    W[0] = k\n{_SUM}if True:\n    scale(5.0)\n",
        "def weights(w=[1.0, 2.0]):\n    return w\n"
        f"{_SUM.replace('W', 'weights()')}weights()[0] = 100.0\n",
        "def weights(w=[1.0, 2.0]):\n    return w\n"
        f"{_SUM.replace('W', 'weights()')}weights().reverse()\n",
    ],
)
def test_functions_called_behind_the_last_write_into_nothing(
    source: str, warm_sandbox: Sandbox
) -> None:
    assert warm_sandbox.check(f"```python\n{source}```", CARD).rule == "policy.behind"


@pytest.mark.parametrize("fence", ["", "```"])
@pytest.mark.parametrize("last", ["W[0] = 3.0", "W[0] += 2.0"])
def test_a_constant_that_is_written_last_is_as_in_python(
    fence: str, last: str, warm_sandbox: Sandbox
) -> None:
    """Without a fence, too, where prose behind the code is left out."""
    reply = f"{fence}\nW = [1.0, 2.0]\n{_SUM}{last}\n{fence}\nIt counts the first more.\n"
    report = warm_sandbox.check(reply, CARD)
    if report.accepted:
        assert report.graph is not None
        qs, state = torch.tensor([[10.0, 100.0]]), torch.zeros(1, CARD.state_dim)
        assert CreditFunction(report.graph)(qs, state).item() == 230.0
    else:
        assert report.rule == "policy.behind"


@pytest.mark.parametrize("line", ["assert [0 for W[0] in [5.0]]", "y: [0 for W[0] in [5.0]] = 1.0"])
def test_a_comprehension_that_is_left_out_writes_into_nothing(
    line: str, warm_sandbox: Sandbox
) -> None:
    source = "W = [1.0, 2.0]\n" + _SUM.replace("    return", f"    {line}\n    return")
    assert not warm_sandbox.check(f"```python\n{source}```", CARD).accepted
