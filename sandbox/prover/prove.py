"""Prove monotonicity, linearity and finiteness of a gated credit graph."""

from __future__ import annotations

from prompts.cards import TaskCard
from sandbox.claims import Proof
from sandbox.graph import CreditGraph
from sandbox.inference import Types
from sandbox.prover.bounds import loose_indices
from sandbox.prover.domain import FLOAT32, REAL, Abstract
from sandbox.prover.interpreter import interpret


def prove(graph: CreditGraph, types: Types, card: TaskCard) -> Proof:
    """Interpret a gated graph over all states of the card, in float32 and over the reals.

    Work and memory are bounded by the graph's own bounds and those of the interpreter; what would
    take more is not proved.
    """
    ranges, whole = card.column_intervals(), whole_columns(card)
    bound = card.q_bound()
    ref = graph.outputs["q_tot"]
    every = interpret(graph, types, FLOAT32, (-bound, bound), ranges, whole)
    exact = interpret(graph, types, REAL, (-bound, bound), ranges, whole, every)
    rounded, real = every[ref.value][ref.out], exact[ref.value][ref.out]
    computed, loose = loose_indices(graph, types, every)
    finite = not rounded.is_unknown and not bool(rounded.bad.any())
    slopes = _per_agent(real, graph.n_agents)
    return Proof(
        monotone=finite and all(lo >= 0 for lo, _ in _per_agent(rounded, graph.n_agents)),
        monotone_over_reals=finite and not real.is_unknown and all(lo >= 0 for lo, _ in slopes),
        linear_in_q=not real.is_unknown and not bool(real.curved.any()),
        finite=finite,
        slopes=slopes,
        q_bound=bound,
        computed_indices=computed,
        loose_index_line=loose,
    )


def _per_agent(x: Abstract, n_agents: int) -> tuple[tuple[float, float], ...]:
    """Bounds of the slope with respect to each agent's Q."""
    s = x.slopes(n_agents)
    return tuple((float(s.lo[i].min()) + 0.0, float(s.hi[i].max()) + 0.0) for i in range(n_agents))


def whole_columns(card: TaskCard) -> list[bool]:
    """Per state column, whether it holds whole numbers only (sentinels included)."""
    return [
        s.unused
        or (s.kind != "real" and all(float(v).is_integer() for v in (s.low, s.high, *s.sentinels)))
        for s in card.state
        for _ in range(s.size)
    ]
