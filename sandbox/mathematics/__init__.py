"""A credit graph as mathematics that a person can read, in the task card's own names.

For each agent its weight, and the bias (or q_tot as a whole), with shared parts named once.
``softmax0(a, b)`` is the first part of a softmax, ``pick(k, a, b)`` the k-th of what follows. What
is written is held against the graph on drawn inputs, and not shown where the two differ.
"""

from __future__ import annotations

import numpy as np
import torch

from prompts.cards import TaskCard
from sandbox.draws import MODES, Row
from sandbox.graph import CreditGraph
from sandbox.inference import infer_types
from sandbox.mathematics.terms import Term, TooLargeError
from sandbox.mathematics.text import Text
from sandbox.mathematics.values import evaluate
from sandbox.mathematics.writing import Writer
from sandbox.runtime import CreditFunction

__all__ = ["TooLargeError", "write_mathematics"]

MAX_TEXT = 6_000
"""Characters of the finished text."""
_CHECKED_ROWS = 36
_SAME = 1e-6
"""Relative difference up to which an expression and the graph agree, in float64."""


def write_mathematics(graph: CreditGraph, card: TaskCard) -> str:
    """The function in the card's names; in weights form its weights and bias, else q_tot.

    One line per definition, in plain Unicode, aligned; results last.

    Raises:
        TooLargeError: it cannot be written in a readable length, or what would be written is not
            what the graph computes.
    """
    writer = Writer(graph, card, infer_types(graph))
    results: list[tuple[str, Term]] = []
    for output in ("weights", "bias") if "weights" in graph.outputs else ("q_tot",):
        found = writer.of(graph.outputs[output])
        many = output == "weights"
        results += [(f"weight of agent {i}" if many else output, e) for i, e in enumerate(found)]
    text = Text([e for _, e in results])
    lines = text.definitions() + [(name, text.of(e)) for name, e in results]
    if sum(len(body) for _, body in lines) > MAX_TEXT:
        raise TooLargeError(f"written out it would take over {MAX_TEXT:,} characters")
    _hold_against(graph, card, [e for _, e in results])
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}} = {body}" for name, body in lines)


def _hold_against(graph: CreditGraph, card: TaskCard, terms: list[Term]) -> None:
    """Refuse expressions that do not have the graph's values."""
    rows = [Row(MODES[i % len(MODES)], i, (), 3.0) for i in range(_CHECKED_ROWS)]
    states = torch.from_numpy(np.stack([r.state(card) for r in rows])).double()
    qs = torch.from_numpy(np.stack([r.agent_qs(card, card.q_bound()) for r in rows])).double()
    symbols = {card.column_name(i): states[:, i] for i in range(graph.state_dim)}
    symbols |= {f"Q[{i}]": qs[:, i] for i in range(graph.n_agents)}
    with torch.no_grad():
        outputs = CreditFunction(graph).outputs(qs, states)
    named = ("weights", "bias") if "weights" in outputs else ("q_tot",)
    expected = torch.cat([outputs[name] for name in named], 1)
    found = torch.stack(evaluate(terms, symbols), 1)
    same = torch.isclose(found, expected, rtol=_SAME, atol=_SAME, equal_nan=True)
    if not bool(same.all()):
        raise TooLargeError("written out it would not have the values that it has")
