"""What a caged child does with a credit graph: hold it against evidence, prove it, test it.

The graph is hostile data and runs many times, so all of this happens in a caged child, where a
crash, a hang or a memory bomb ends one check and nothing else. A task and its answer are plain
JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from prompts.cards import TaskCard
from sandbox.agreement import DisagreementError, largest_difference, require_types
from sandbox.claims import Proof
from sandbox.config import GateConfig, SandboxConfig
from sandbox.credit import credit_at_work
from sandbox.gate import apply_gate
from sandbox.graph import CreditGraph, GraphError
from sandbox.inference import Types, infer_types
from sandbox.mathematics import TooLargeError, write_mathematics
from sandbox.properties import run_properties
from sandbox.prover.prove import prove
from sandbox.reading import read_graph
from sandbox.runtime import CreditFunction


def judge(task: dict[str, Any]) -> dict[str, Any]:
    """Prove and test an ungated graph under a gate.

    Returns:
        ``refused`` with rule and message where the evidence contradicts the graph; else
        ``evidence``, ``proof``, ``properties`` and the ``seconds`` of each stage.
    """
    laps = _Laps()
    graph, card = read_graph(task["graph"]), TaskCard.model_validate(task["card"])
    config = SandboxConfig.model_validate(task["config"])
    apart = None
    if task["evidence"] is not None:
        try:
            apart = largest_difference(graph, *task["evidence"])
        except DisagreementError as error:
            return {"refused": {"rule": error.rule, "message": error.message}}
        laps.lap("evidence")
    gated = apply_gate(graph, GateConfig.model_validate(task["gate"]))
    types = infer_types(gated)
    try:
        require_types(gated, types)
    except GraphError as error:
        return {"refused": {"rule": error.rule, "message": str(error)}}
    laps.lap("graph")
    proof = _proved(gated, types, card)
    laps.lap("prove")
    properties = run_properties(gated, types, card, proof, config, task["states"])
    laps.lap("properties")
    claims = asdict(proof)
    claims["slopes"] = [[repr(low), repr(high)] for low, high in proof.slopes]
    claims["rounding"] = repr(proof.rounding)
    return {
        "evidence": apart,
        "proof": claims,
        "properties": [asdict(p) for p in properties],
        "seconds": laps.seconds,
    }


def _proved(gated: CreditGraph, types: Types, card: TaskCard) -> Proof:
    """The proof; nothing is proved where the prover fails, and the tests decide."""
    try:
        return prove(gated, types, card)
    except (RuntimeError, ArithmeticError, ValueError, MemoryError):
        return Proof.of_nothing(gated.n_agents, card.q_bound())


class _Laps:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._at
        self._at = now


def mathematics(task: dict[str, Any]) -> dict[str, Any]:
    """A gated graph in readable form; ``text`` is null where there is none."""
    graph, card = read_graph(task["graph"]), TaskCard.model_validate(task["card"])
    try:
        return {"text": write_mathematics(graph, card)}
    except TooLargeError as error:
        return {"text": None, "reason": str(error)[:200]}


def rehearse(task: dict[str, Any]) -> dict[str, Any]:
    """Value and gradient of a gated graph on a batch, as a training asks for them.

    Returns:
        Whether all of ``q_tot`` and ``gradient`` are finite.
    """
    function = CreditFunction(read_graph(task["graph"]))
    qs, states = (torch.tensor(task[k], dtype=torch.float32) for k in ("agent_qs", "states"))
    repeated = torch.arange(task["rows"]) % len(qs)
    qs, states = qs[repeated].requires_grad_(), states[repeated]
    q_tot = function(qs, states)
    gradient = torch.zeros_like(qs)
    if q_tot.requires_grad:
        (gradient,) = torch.autograd.grad(q_tot.sum(), qs)
    return {
        "q_tot": bool(torch.isfinite(q_tot).all()),
        "gradient": bool(torch.isfinite(gradient).all()),
    }


def credit(task: dict[str, Any]) -> dict[str, Any]:
    """The weights of a gated graph along an episode and what they depend on."""
    graph, card = read_graph(task["graph"]), TaskCard.model_validate(task["card"])
    return credit_at_work(graph, card, task["agent_qs"], task["states"], task["seed"])


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "judge": judge,
    "mathematics": mathematics,
    "rehearse": rehearse,
    "credit": credit,
}
