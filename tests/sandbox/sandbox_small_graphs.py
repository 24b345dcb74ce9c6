"""Small cards and hand-made graphs for tests."""

from __future__ import annotations

from typing import Any

from prompts.cards import TaskCard
from sandbox.checker import ROWS
from sandbox.claims import Findings, Proof
from sandbox.config import GateConfig, SandboxConfig
from sandbox.contract import require_contract, require_memory
from sandbox.gate import apply_gate
from sandbox.graph import Constant, CreditGraph, Operation, Ref
from sandbox.inference import infer_types
from sandbox.properties import run_properties
from sandbox.prover.prove import prove

QS, STATE = Ref(0), Ref(1)


def small_card(
    low: float = 0.0, high: float = 1.0, kind: str = "real", agents: int = 2, columns: int = 3
) -> TaskCard:
    """Two agents, three columns of one kind."""
    return TaskCard.model_validate(
        {
            "name": "small", "title": "small", "prose": "A small task.", "n_agents": agents,
            "n_actions": 2, "action_names": ["a", "b"], "horizon": 10,
            "reward": {"low": -1, "high": 1, "meaning": "made up"},
            "state": [{"name": "x", "shape": [columns], "kind": kind, "low": low, "high": high,
                       "meaning": "made up"}],
            "env": {"kind": "none"},
        }
    )  # fmt: skip


def mixing(
    card: TaskCard,
    *operations: tuple[Any, ...],
    constants: tuple[Constant, ...] = (),
    q_tot: Ref | None = None,
) -> CreditGraph:
    """A mixing-form graph: (op, *args) or (op, *args, {kwargs}); its last value is q_tot."""
    made = []
    for op, *args in operations:
        kwargs = args.pop() if args and isinstance(args[-1], dict) else {}
        made.append(Operation(f"aten.{op}", tuple(args), tuple(sorted(kwargs.items()))))
    last = Ref(1 + len(constants) + len(made)) if q_tot is None else q_tot
    return CreditGraph(
        "mixing", card.n_agents, card.state_dim, card.schema_hash(), constants, tuple(made),
        {"q_tot": last},
    )  # fmt: skip


def proof_of(graph: CreditGraph, card: TaskCard, gate: GateConfig | None = None) -> Proof:
    """What is proved of an ungated graph."""
    gated = apply_gate(graph, gate or GateConfig())
    return prove(gated, infer_types(gated), card)


def judge_here(
    graph: CreditGraph, card: TaskCard, gate: GateConfig, config: SandboxConfig
) -> Findings:
    """Judge an ungated graph in this process, as a caged child would.

    Raises:
        GraphError: it breaks a bound, or is no credit function of the task.
    """
    gated = apply_gate(graph, gate)
    types = infer_types(gated)
    require_contract(gated, types, card)
    require_memory(types, config.rows or ROWS, config.training_mb)
    proof = prove(gated, types, card)
    asks = gate.mode == "enforce"
    properties = run_properties(gated, types, card, proof, config)
    return Findings(proof, properties, asks and gated.signature == "weights", asks)
