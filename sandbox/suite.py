"""The property suite in a process of its own: a caged child, like a candidate's.

The graph under test is hostile data and the suite runs it hundreds of times, so it runs where a
crash, a hang or a memory bomb ends one check and nothing else. The child runs our code only; its
answer is read as data all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prompts.cards import TaskCard
from sandbox.config import SandboxConfig
from sandbox.graph import CreditGraph
from sandbox.isolation import wire
from sandbox.isolation.host import Zygote
from sandbox.isolation.lockdown import Limits
from sandbox.properties import run_properties
from sandbox.prover.prove import Proof
from sandbox.report import PropertyResult

MAX_TEXT = 4_000
_STATUSES = ("pass", "fail", "warn", "proved")


def make_task(
    graph: CreditGraph,
    card: TaskCard,
    proof: Proof,
    config: SandboxConfig,
    states: Sequence[Sequence[float]] = (),
) -> dict[str, Any]:
    """What the child is sent."""
    claims = asdict(proof)
    claims["slopes"] = [[repr(low), repr(high)] for low, high in proof.slopes]
    return {
        "kind": "suite",
        "graph": graph.to_json(),
        "card": card.model_dump(mode="json"),
        "proof": claims,
        "config": config.model_dump(mode="json"),
        "states": [list(state) for state in states],
    }


def run_task(task: dict[str, Any]) -> dict[str, Any]:
    """Run the suite; in the child."""
    claims = dict(task["proof"])
    claims["slopes"] = tuple((float(low), float(high)) for low, high in claims["slopes"])
    results = run_properties(
        CreditGraph.from_json(task["graph"]),
        TaskCard.model_validate(task["card"]),
        Proof(**claims),
        SandboxConfig.model_validate(task["config"]),
        task["states"],
    )
    return {"properties": [asdict(r) for r in results]}


def run_caged(
    zygote: Zygote,
    graph: CreditGraph,
    card: TaskCard,
    proof: Proof,
    config: SandboxConfig,
    states: Sequence[Sequence[float]] = (),
) -> tuple[PropertyResult, ...]:
    """Run the suite in a child of ``zygote`` and read what it found.

    Raises:
        ChildFailure: it did not finish within ``suite_wall_s`` or its memory.
    """
    limits = Limits(config.memory_mb, int(config.suite_wall_s) + 2)
    with zygote.child(limits, config.suite_wall_s) as child:
        child.ask(make_task(graph, card, proof, config, states))
        return _read(child.answer())


def _read(answer: Any) -> tuple[PropertyResult, ...]:
    found = answer.get("properties") if isinstance(answer, dict) else None
    if not isinstance(found, list) or not 0 < len(found) < 100:
        raise wire.WireError("malformed", "a suite's answer of unknown form")
    return tuple(_property(p) for p in found)


def _property(p: Any) -> PropertyResult:
    if not isinstance(p, dict) or p.get("status") not in _STATUSES:
        raise wire.WireError("malformed", "a property of unknown form")
    example = p.get("counterexample")
    examples = p.get("examples")
    return PropertyResult(
        name=str(p.get("name"))[:60],
        status=p["status"],
        examples=examples if type(examples) is int and 0 <= examples < 10**9 else 0,
        counterexample=None if example is None else str(example)[:MAX_TEXT],
        detail=str(p.get("detail", ""))[:MAX_TEXT],
    )
