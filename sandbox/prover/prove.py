"""Prove monotonicity, linearity and finiteness of a gated credit graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from prompts.cards import TaskCard
from sandbox.claims import Proof
from sandbox.graph import CreditGraph
from sandbox.inference import Types
from sandbox.prover.bounds import loose_indices
from sandbox.prover.domain import FLOAT32, REAL, Abstract
from sandbox.prover.gradients import has_finite_gradient
from sandbox.prover.interpreter import interpret
from sandbox.prover.registry import Results
from sandbox.prover.splitting import Box, parts


def prove(graph: CreditGraph, types: Types, card: TaskCard) -> Proof:
    """Interpret a gated graph over all states of the card, in float32 and over the reals.

    What the whole box of inputs does not show is tried again in parts, split where the graph
    compares a state column or a Q with a constant. Work and memory are bounded by the graph's own
    bounds and those of the interpreter and of the parts; what would take more is not proved.
    """
    bound, box = card.q_bound(), Box.of(card)
    proof, every = _prove_in(graph, types, box, bound)
    asks = graph.gate is None or graph.gate.mode == "enforce"
    if not proof.finite_throughout or (
        asks and not proof.monotone and graph.signature != "weights"
    ):
        cases = parts(graph, types, box, every, agent_qs=False)
        if len(cases) > 1:
            proof = _together([_prove_in(graph, types, case, bound)[0] for case in cases])
    if not proof.finite_throughout:
        cases = parts(graph, types, box, every, agent_qs=True)
        # Across a part's end q_tot may fall, so that only finiteness follows from parts of Qs.
        if len(cases) > 1:
            proof = _finite_in_all(proof, (_prove_in(graph, types, c, bound)[0] for c in cases))
    return proof


def _finite_in_all(proof: Proof, cases: Iterable[Proof]) -> Proof:
    """A proof with what of finiteness holds in every one of the parts, as far as that is asked."""
    values = gradient = True
    for case in cases:
        values, gradient = values and case.finite, gradient and case.finite_gradient
        if not values:
            return proof
    return replace(proof, finite=True, finite_gradient=proof.finite_gradient or gradient)


def _prove_in(
    graph: CreditGraph, types: Types, box: Box, bound: float
) -> tuple[Proof, list[Results]]:
    """What holds within a box; and what is known of every value in float32."""
    ref = graph.outputs["q_tot"]
    every = interpret(graph, types, FLOAT32, box.agent_qs, box.state, box.whole)
    exact = interpret(graph, types, REAL, box.agent_qs, box.state, box.whole, every)
    rounded, real = every[ref.value][ref.out], exact[ref.value][ref.out]
    computed, loose = loose_indices(graph, types, every)
    finite = not rounded.is_unknown and not bool(rounded.bad.any())
    slopes = _per_agent(real, graph.n_agents)
    proof = Proof(
        monotone=finite and all(lo >= 0 for lo, _ in _per_agent(rounded, graph.n_agents)),
        monotone_over_reals=finite and not real.is_unknown and all(lo >= 0 for lo, _ in slopes),
        # Weights and bias read no Q (`sandbox.contract`).
        linear_in_q=graph.signature == "weights"
        or (not real.is_unknown and not bool(real.curved.any())),
        finite=finite,
        finite_gradient=finite and has_finite_gradient(graph, types, every),
        slopes=slopes,
        q_bound=bound,
        computed_indices=computed,
        loose_index_line=loose,
    )
    return proof, every


def _together(cases: list[Proof]) -> Proof:
    """What holds in each of the parts that a state may be in."""
    lines = [c.loose_index_line for c in cases if c.loose_index_line is not None]
    return replace(
        cases[0],
        monotone=all(c.monotone for c in cases),
        monotone_over_reals=all(c.monotone_over_reals for c in cases),
        linear_in_q=all(c.linear_in_q for c in cases),
        finite=all(c.finite for c in cases),
        finite_gradient=all(c.finite_gradient for c in cases),
        slopes=tuple(
            (min(lo for lo, _ in own), max(hi for _, hi in own))
            for own in zip(*(c.slopes for c in cases), strict=True)
        ),
        loose_index_line=lines[0] if lines else None,
    )


def _per_agent(x: Abstract, n_agents: int) -> tuple[tuple[float, float], ...]:
    """Bounds of the slope with respect to each agent's Q."""
    s = x.slopes(n_agents)
    return tuple((float(s.lo[i].min()) + 0.0, float(s.hi[i].max()) + 0.0) for i in range(n_agents))
