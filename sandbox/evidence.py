"""Inputs for evidence of a faithful export: source and rebuilt graph must agree on them.

They are drawn after the graph was sent. Evidence is never security: a child that lies about its
results lies about its graph as well, and the graph is judged by itself. It catches what export
fixes without saying so: a branch, a global, a counter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from prompts.cards import TaskCard

EVIDENCE_BATCHES = (1, 31, 37)
"""Beside a single row sizes that no axis of a task has: `sandbox.meant` tells rows by their number.
"""


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
