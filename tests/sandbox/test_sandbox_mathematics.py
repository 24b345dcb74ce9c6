"""Readable mathematics says what the graph computes, and says it in the card's names."""

from __future__ import annotations

import functools
import math
import re
import statistics
import time
from typing import Any

import pytest
import torch

from bench.check import FUNCTIONS
from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.graph import CreditGraph
from sandbox.mathematics import TooLargeError, write_mathematics
from sandbox.runtime import CreditFunction


class _Column:
    """A part of the state, read as ``name[1,2]``."""

    def __init__(self, values: dict[str, float], name: str) -> None:
        self.values, self.name = values, name

    def __getitem__(self, place: Any) -> float:
        places = place if isinstance(place, tuple) else (place,)
        return self.values[f"{self.name}[{','.join(map(str, places))}]"]


def _soft(k: int, xs: tuple[float, ...]) -> float:
    return math.exp(xs[k]) / sum(math.exp(x) for x in xs)


_MEANING: dict[str, Any] = {
    **{name: getattr(math, name) for name in ("sqrt", "exp", "tanh", "trunc")},
    **{f"softmax{k}": functools.partial(lambda k, *xs: _soft(k, xs), k) for k in range(8)},
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "elu": lambda x, alpha: x if x > 0 else alpha * math.expm1(x),
    "argmin": lambda *xs: xs.index(min(xs)),
    "argmax": lambda *xs: xs.index(max(xs)),
    "logsumexp": lambda *xs: math.log(sum(math.exp(x) for x in xs)),
    "std": lambda *xs: statistics.stdev(xs),
    "pick": lambda k, *xs: xs[k],
}


def _as_python(name: str, body: str) -> str:
    """A line of the text as Python, which has the same ``a if c else b``."""
    for sign, python in (("·", "*"), ("^", "**"), (" = ", " == "), ("≠", "!=")):
        body = body.replace(sign, python)
    body = body.replace("≤", "<=").replace("≥", ">=")
    if name.startswith("weight") and body[0] == "|" == body[-1]:
        return f"abs({_as_python('', body[1:-1])})"
    return re.sub(r"\|([^|]*)\|", r"abs(\1)", body)


def _read_back(text: str, columns: dict[str, float], qs: list[float]) -> dict[str, float]:
    """Values of the lines of a text, computed as they are written."""
    names: dict[str, Any] = {"Q": qs}
    for name in columns:
        part = name.partition("[")[0]
        names[part] = columns.get(part, _Column(columns, part))
    for line in text.splitlines():
        name, _, body = line.partition(" = ")
        name = name.strip()
        names[name] = eval(_as_python(name, body), {**_MEANING, **names})  # noqa: S307 - our own text
    return names


_MORE = {
    "masks and picks": (
        "matrix/climbing",
        """
def tfcaf(state):
    last = state[:, 0:2]
    w = torch.ones(state.shape[0], 2)
    w[:, 0] = torch.where(last[:, 1] == 2, 3.0, 0.5)
    w[last < 0] = 0.25
    top = last.gather(1, last.argmax(dim=1, keepdim=True))
    d = (last.unsqueeze(1) - last.unsqueeze(2)).abs().sum(dim=-1)
    b = torch.cat([top, last.std(dim=1, keepdim=True)], dim=1).mean(dim=1, keepdim=True)
    return w + d * torch.tensor([1.0, 2.0]), b + (last @ torch.eye(2)).amax(dim=1, keepdim=True)
""",
    ),
}


_TOO_LONG = "it would be too long"
_NOT_WRITTEN = {"best_coverers": "it sorts", "crowding": _TOO_LONG, "runners": _TOO_LONG}


@pytest.mark.parametrize("name", [n for n in (*FUNCTIONS, *_MORE) if n not in _NOT_WRITTEN])
def test_what_is_written_has_the_values_of_the_graph(name: str, warm_sandbox: Sandbox) -> None:
    task, source = {**FUNCTIONS, **_MORE}[name]
    card = load_card(task)
    report = warm_sandbox.check(source, card)
    assert report.graph is not None, report.feedback
    assert report.mathematics is not None
    torch.manual_seed(0)
    qs = torch.randn(16, card.n_agents, dtype=torch.float64)
    low, high = torch.tensor(card.column_intervals(), dtype=torch.float64).T
    states = low + torch.rand(16, card.state_dim, dtype=torch.float64) * (high - low)
    states[:8] = states[:8].round()
    outputs = CreditFunction(report.graph).outputs(qs, states)
    for row in range(16):
        columns = {card.column_name(i): float(states[row, i]) for i in range(card.state_dim)}
        found = _read_back(report.mathematics, columns, qs[row].tolist())
        if "weights" in outputs:
            names = [f"weight of agent {i}" for i in range(card.n_agents)]
            shown, of_graph = [*map(found.get, names), found["bias"]], ("weights", "bias")
        else:
            shown, of_graph = [found["q_tot"]], ("q_tot",)
        expected = [float(x) for name in of_graph for x in outputs[name][row]]
        assert shown == pytest.approx(expected, rel=1e-4, abs=1e-5)


def _graph(sandbox: Sandbox, source: str, task: str = "matrix/climbing") -> CreditGraph:
    report = sandbox.check(source, load_card(task), GateConfig(mode="relax"))
    assert report.graph is not None, report.feedback
    return report.graph


def test_text_names_columns_and_agents(warm_sandbox: Sandbox) -> None:
    source = "def tfcaf(state):\n    return 1.0 + (state == 2).float(), state[:, :1] * 0.0\n"
    written = write_mathematics(_graph(warm_sandbox, source), load_card("matrix/climbing"))
    assert "weight of agent 1 = (1 if last_action[1] = 2 else 0) + 1" in written
    assert "bias              = 0" in written


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("agent_qs.mean(1, keepdim=True)", "0.5·(Q[0] + Q[1])"),
        ("(agent_qs ** 2 + 1).sum(1, keepdim=True).sqrt()", "sqrt(Q[0]^2 + Q[1]^2 + 2)"),
        ("-(agent_qs[:, :1] - agent_qs[:, 1:])", "-Q[0] + Q[1]"),
        ("agent_qs[:, :1] / (agent_qs[:, 1:].abs() + 1)", "Q[0]/(|Q[1]| + 1)"),
        ("torch.relu(agent_qs).prod(1, keepdim=True)", "max(0, Q[0])·max(0, Q[1])"),
        ("2 ** -agent_qs.abs()[:, :1]", "2^(-|Q[0]|)"),
        ("agent_qs.logsumexp(1, keepdim=True)", "logsumexp(Q[0], Q[1])"),
        ("agent_qs.sum(1, keepdim=True) / 3", "(Q[0] + Q[1])/3"),
        (
            "torch.where((state[:, :1] > 0) & ~(state[:, 1:] > 1), 1.0, agent_qs[:, :1])",
            "(1 if last_action[0] > 0 and not (last_action[1] > 1) else Q[0])",
        ),
        ("torch.nn.functional.leaky_relu(agent_qs, 0.2)[:, :1]", "leaky_relu(Q[0], 0.2)"),
    ],
)
def test_notation(body: str, written: str, warm_sandbox: Sandbox) -> None:
    source = f"def tfcaf(agent_qs, state):\n    return {body}\n"
    text = write_mathematics(_graph(warm_sandbox, source), load_card("matrix/climbing"))
    assert text == f"q_tot = {written}"


_LONG = """
def tfcaf(agent_qs, state):
    x = agent_qs.sum(1, keepdim=True)
    for i in range({n}):
        x = x + torch.sin(x * (i + 1.5)) * 0.001
    return x
"""
_SQUARES = """
def tfcaf(agent_qs, state):
    x = agent_qs.sum(1, keepdim=True) * 1e-3
    for i in range({n}):
        x = torch.tanh(x * x + x)
    return x
"""


@pytest.mark.parametrize("source", [_LONG.format(n=200), _SQUARES.format(n=60)])
def test_a_function_too_long_to_read_is_said_to_be_so(source: str, warm_sandbox: Sandbox) -> None:
    graph = _graph(warm_sandbox, source)
    started = time.process_time()
    with pytest.raises(TooLargeError, match=r"parts|deep|characters"):
        write_mathematics(graph, load_card("matrix/climbing"))
    assert time.process_time() - started < 5, "it must be found too long early"


def test_what_would_have_other_values_is_not_written(warm_sandbox: Sandbox) -> None:
    # Ten quintillion less itself: what is left in floats is not what is left on paper.
    source = (
        "def tfcaf(agent_qs, state):\n"
        "    far = (agent_qs + 1e19) - 1e19\n"
        "    return (far + agent_qs).sum(1, keepdim=True)\n"
    )
    with pytest.raises(TooLargeError, match="would not have the values"):
        write_mathematics(_graph(warm_sandbox, source), load_card("matrix/climbing"))
