"""Readable mathematics says what the graph computes, and says it in the card's names."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
import torch

from bench.check import FUNCTIONS
from prompts.cards import TaskCard, load_card
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.graph import CreditGraph
from sandbox.mathematics import TooLargeError, expressions_of, write_mathematics
from sandbox.runtime import CreditFunction

_MEANING = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "trunc": math.trunc,
    "argmax": lambda *xs: int(np.argmax(xs)),
    "pick": lambda k, *xs: xs[int(k)],
    "std": lambda *xs: float(np.std(xs, ddof=1)),
    **{
        f"softmax{i}": lambda *xs, i=i: math.exp(xs[i]) / sum(math.exp(x) for x in xs)
        for i in range(8)
    },
}


def _evaluate(expression: sympy.Basic, symbols: dict[str, float]) -> float:
    names = [sympy.Symbol(n, real=True) for n in symbols]
    f = sympy.lambdify(names, expression, modules=[_MEANING, "math"])
    return float(f(*symbols.values()))


def _q_tot(graph: CreditGraph, card: TaskCard) -> sympy.Basic:
    (expression,) = expressions_of(graph, card, "q_tot")
    return expression


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


@pytest.mark.parametrize("name", ["sum", "weights", "mixing", *_MORE])
def test_expressions_have_the_value_of_the_graph(name: str, warm_sandbox: Sandbox) -> None:
    task, source = {**FUNCTIONS, **_MORE}[name]
    card = load_card(task)
    report = warm_sandbox.check(source, card)
    assert report.graph is not None, report.feedback
    expression = _q_tot(report.graph, card)
    function = CreditFunction(report.graph)
    for a in (-1.0, 0.0, 2.0):
        for b in (-1.0, 1.0, 2.0):
            qs = torch.tensor([[0.7, -1.3]], dtype=torch.float64)
            state = torch.tensor([[a, b]], dtype=torch.float64)
            symbols = {"Q[0]": 0.7, "Q[1]": -1.3, "last_action[0]": a, "last_action[1]": b}
            expected = float(function(qs, state))
            assert _evaluate(expression, symbols) == pytest.approx(expected, rel=1e-6)


def test_text_names_columns_and_agents(warm_sandbox: Sandbox) -> None:
    card = load_card("matrix/climbing")
    source = "def tfcaf(state):\n    return 1.0 + (state == 2).float(), state[:, :1] * 0.0\n"
    report = warm_sandbox.check(source, card, GateConfig(mode="relax"))
    assert report.graph is not None
    written = write_mathematics(report.graph, card)
    assert "weight of agent 1 = (1 if last_action[1] = 2 else 0) + 1" in written.text
    assert "\\text{weight of agent 0}" in written.latex


def test_a_function_too_long_to_read_is_said_to_be_so(warm_sandbox: Sandbox) -> None:
    card = load_card("matrix/climbing")
    source = (
        "def tfcaf(agent_qs, state):\n    x = agent_qs.sum(1, keepdim=True)\n"
        "    for i in range(200):\n        x = x + torch.sin(x * (i + 1.5)) * 0.001\n    return x\n"
    )
    report = warm_sandbox.check(source, card, GateConfig(mode="relax"))
    assert report.graph is not None, report.feedback
    with pytest.raises(TooLargeError, match=r"terms|deep|characters"):
        write_mathematics(report.graph, card)
