"""Weights of a credit function at work, and what they depend on."""

from __future__ import annotations

import pytest
import torch
from sandbox_functions import AGAINST, LEADER, SOFT_MINIMUM

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.config import GateConfig
from sandbox.credit import credit_weights, influences
from sandbox.graph import CreditGraph
from sandbox.runtime import CreditFunction


def graph_of(sandbox: Sandbox, source: str, gate: str = "enforce") -> CreditGraph:
    """The gated graph of a source that the sandbox accepts."""
    report = sandbox.check(source, load_card("matrix/climbing"), GateConfig(mode=gate))
    assert report.graph is not None, report.feedback
    return report.graph


@pytest.mark.parametrize(
    ("source", "gate"),
    [(LEADER, "enforce"), (SOFT_MINIMUM, "enforce"), (AGAINST, "relax"), (AGAINST, "enforce")],
)
def test_weights_are_the_derivatives_of_the_rebuilt_graph(
    warm_sandbox: Sandbox, source: str, gate: str
) -> None:
    graph = graph_of(warm_sandbox, source, gate)
    function = CreditFunction(graph)
    generator = torch.Generator().manual_seed(3)
    qs = torch.randn(12, 2, generator=generator, dtype=torch.float64) * 5
    states = torch.randint(-1, 3, (12, 2), generator=generator).double()
    found = credit_weights(function, qs, states)
    step = 1e-5
    for agent in range(2):
        nudge = torch.zeros_like(qs)
        nudge[:, agent] = step
        rise = function(qs + nudge, states) - function(qs - nudge, states)
        torch.testing.assert_close(found[:, agent], rise[:, 0] / (2 * step), rtol=1e-6, atol=1e-6)
    assert bool((found < 0).any()) is (gate == "relax")
    card = load_card("matrix/climbing")
    answered, _ = warm_sandbox.credit(graph, card, qs.tolist(), states.tolist(), 0)
    torch.testing.assert_close(torch.tensor(answered).double(), found, rtol=1e-4, atol=1e-5)


def test_only_what_moves_the_weights_has_influence(warm_sandbox: Sandbox) -> None:
    card = load_card("matrix/climbing")
    function = CreditFunction(graph_of(warm_sandbox, LEADER))
    states = torch.tensor([[0.0, 2.0], [1.0, 0.0], [2.0, 1.0]])
    moved = influences(function, card, torch.zeros(3, 2), states, seed=0)
    assert moved[0] == 0
    assert moved[1] > 0.01
