"""How long the sandbox takes to judge a function."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from prompts.cards import load_card
from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig

REPEATS = 7

FUNCTIONS: dict[str, tuple[str, str]] = {
    "sum": (
        "matrix/climbing",
        "def tfcaf(agent_qs, state):\n    return agent_qs.sum(dim=1, keepdim=True)\n",
    ),
    "weights": (
        "matrix/climbing",
        """
def tfcaf(state):
    last = state[:, 0:2]
    started = (last >= 0).all(dim=1, keepdim=True).to(state.dtype)
    safe = (last == 2).to(state.dtype)
    agreed = (last[:, 0:1] == last[:, 1:2]).to(state.dtype)
    weights = torch.softmax(0.5 * safe + agreed - 0.25 * last, dim=1) * 2.0
    weights = torch.where(started > 0, weights, torch.ones_like(weights))
    bias = 0.1 * agreed * started
    return weights, bias
""",
    ),
    "mixing": (
        "matrix/penalty-25",
        """
def share(last, agent):
    return torch.sigmoid(1.0 - (last[:, agent : agent + 1] - 1.0) ** 2)

def tfcaf(agent_qs, state):
    total = torch.zeros(state.shape[0], 1)
    for agent in range(2):
        q = agent_qs[:, agent : agent + 1]
        total = total + (0.5 + share(state, agent)) * F.elu(q / 10.0) * 10.0
    return total + 0.2 * agent_qs.max(dim=1, keepdim=True).values
""",
    ),
}
"""Functions by name, each with its task."""


def bench_check(config: SandboxConfig) -> list[dict[str, Any]]:
    """A row per function: median and slowest time of a full check, and the cost of its child.

    Keys: ``function``, ``task``, ``median_s``, ``p95_s``, ``overhead_ms`` (a locked child that does
    nothing), ``examples``, ``repeats``, and the median of each stage in ``seconds``.
    """
    torch.set_num_threads(1)
    rows = []
    with Sandbox(config) as sandbox:
        overhead = statistics.median(_empty_child(sandbox) for _ in range(3 * REPEATS))
        for name, (task, source) in FUNCTIONS.items():
            card = load_card(task)
            reports = [sandbox.check(source, card) for _ in range(REPEATS)]
            refused = next((r for r in reports if not r.accepted), None)
            if refused is not None:
                raise RuntimeError(
                    f"the benchmark function '{name}' is rejected: {refused.feedback}"
                )
            times = sorted(r.elapsed_s for r in reports)
            rows.append(
                {
                    "function": name,
                    "task": task,
                    "median_s": statistics.median(times),
                    "p95_s": times[min(len(times) - 1, round(0.95 * len(times)))],
                    "overhead_ms": 1000 * overhead,
                    "examples": config.examples,
                    "repeats": REPEATS,
                    "seconds": {
                        stage: statistics.median(r.seconds.get(stage, 0.0) for r in reports)
                        for stage in reports[0].seconds
                    },
                }
            )
    return rows


def _empty_child(sandbox: Sandbox) -> float:
    started = time.perf_counter()
    with sandbox.zygote.child(sandbox.limits, sandbox.config.wall_s) as child:
        child.ask({"kind": "probe", "what": "nothing"})
        child.answer()
    return time.perf_counter() - started
