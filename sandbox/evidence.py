"""Evidence of a faithful export: source and rebuilt graph agree on numbers drawn afterwards.

It is never security: a child that lies about its results lies about its graph as well, and the
graph is judged by itself. It catches what export fixes without saying so: a branch, a global, a
counter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from prompts.cards import TaskCard
from sandbox.graph import CreditGraph
from sandbox.isolation import wire
from sandbox.runtime import CreditFunction

EVIDENCE_BATCHES = (1, 2, 5)


class EvidenceError(Exception):
    """The source and its graph disagree; ``rule`` and ``message`` for the coder."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule, self.message = rule, message


def draw_inputs(card: TaskCard, seed: int) -> list[dict[str, Any]]:
    """States within the card's ranges and Qs, in batches of several sizes, as JSON."""
    rng = np.random.default_rng([seed, 0x7FCAF])
    low, high = (np.array([i[k] for i in card.column_intervals()]) for k in (0, 1))
    inputs = []
    for batch in EVIDENCE_BATCHES:
        state = np.round(low + (high - low) * rng.random((batch, card.state_dim)), 3)
        whole = np.array([s.kind != "real" for s in card.state for _ in range(s.size)])
        state = np.where(whole, np.round(state), state)
        qs = np.round(rng.normal(size=(batch, card.n_agents)) * 3, 3)
        inputs.append({"agent_qs": qs.tolist(), "state": state.tolist()})
    return inputs


def compare(graph: CreditGraph, inputs: list[dict[str, Any]], reply: Any) -> float:
    """Hold the child's eager results against the rebuilt graph's; returns the largest difference.

    Raises:
        EvidenceError: they differ, or the source fails on real numbers.
        WireError: the reply is not of the form that a child sends.
    """
    if isinstance(reply, dict) and "error" in reply:
        raise EvidenceError(
            "export.eager",
            f"running it on real numbers fails: {str(reply['error'])[:400]}",
        )
    results = reply.get("results") if isinstance(reply, dict) else None
    function = CreditFunction(graph)
    names = ("weights", "bias") if graph.signature == "weights" else ("q_tot",)
    largest = 0.0
    try:
        for pair, outputs in zip(inputs, results or [], strict=True):
            qs, state = torch.tensor(pair["agent_qs"]), torch.tensor(pair["state"])
            mine = function.outputs(qs, state)
            for name, theirs in zip(names, outputs, strict=True):
                said = torch.tensor([[float(x) for x in row] for row in theirs])
                if said.shape != mine[name].shape:
                    raise EvidenceError(
                        "export.evidence",
                        f"for a batch of {len(qs)}, {name} has shape {list(said.shape)}",
                    )  # fmt: skip
                close = torch.allclose(said, mine[name], rtol=1e-4, atol=1e-5, equal_nan=True)
                if not close:
                    raise EvidenceError(
                        "export.evidence",
                        f"{name} differs between the source and its exported graph for a batch of "
                        f"{len(qs)}: something is fixed at export, such as a branch or a global",
                    )  # fmt: skip
                largest = max(largest, float((said - mine[name]).abs().nan_to_num().max()))
    except (ValueError, TypeError, OverflowError):
        raise wire.WireError("malformed", "evidence of unknown form") from None
    return largest
