"""A store with one of everything: a run (1) with a search and two failed trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qllm.store.store import open_store
from qllm.store.synthesis import Turn
from qllm.store.training import MetricPoint

TASK = "matrix/climbing"


def fill_store(home: Path) -> None:
    """Fill a new store in a home folder. Its candidates 1 (accepted) and 2 are of run 1."""
    with open_store(home) as store:
        config = {"task": TASK, "synth": {"coder": "none such"}}
        about: Any = {"command": "qllm run x", "versions": {"qllm": "0"}, "config": config}
        inputs = {"coder": {"name": "m", "is_llm": True}, "name": "f.py", "graph_hash": "a" * 64}
        parent = store.runs.create("run", TASK, inputs=inputs, **about)
        attempt = store.runs.begin(parent)
        store.synthesis.begin_round(parent, attempt, 0)
        for slot, verdict in enumerate(("accepted", "rejected")):
            report = {
                "verdict": verdict,
                "stage": "done" if slot == 0 else "policy",
                "rule": None if slot == 0 else "policy.while",
                "graph_hash": "a" * 64 if slot == 0 else None,
                "signature": "weights",
                "gate": "enforce (abs)",
                "igm": "by-gate",
                "finite": "proved",
                "code": "def tfcaf(state): ...",
                "feedback": "line 1",
                "properties": [{"name": "p", "status": "fail", "counterexample": "c"}],
                "layers": {"seccomp": "on"},
            }
            store.synthesis.record_candidate(
                parent, attempt, (0, slot, 0), source="s", report=report
            )
        turns = [Turn("r0", 0, "system", "you"), Turn("r0.s0", 1, "assistant", "me", model="m")]
        store.synthesis.record_turns(parent, attempt, turns)
        reason = {"graph_hash": "a" * 64, "steps": 100, "seeds": [7], "key": "r0.s0.0"}
        store.synthesis.record_verdict(
            parent, attempt, "pilot", "k", score=1.0, reason=reason, candidate_id=1
        )
        gate = {"mode": "enforce", "reason": "why", "evidence": {"proposal": {"mode": "relax"}}}
        store.synthesis.record_verdict(parent, attempt, "gate", "gate", reason=gate)
        store.synthesis.end_round(parent, 0, selected_candidate_id=1, reason="best", advice="more")
        for seed in (0, 1):
            child = store.runs.create(
                "train", TASK, parent_id=parent, algo="vdn", seed=seed, total_steps=10, **about
            )
            own = store.runs.begin(child)
            store.training.record_metrics(child, own, [MetricPoint(5, 0.1, "loss", 1.0)])
            for steps in (0, 10):
                store.training.record_evaluation(child, own, steps, 0.2, [1.0, 2.0])
            store.runs.finish(child, "failed", error="it broke")
        store.runs.finish(parent, "failed", error="2 of 2 trainings failed")
