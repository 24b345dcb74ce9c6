"""Prove monotonicity, linearity and finiteness of a gated credit graph."""

from __future__ import annotations

from dataclasses import dataclass

from prompts.cards import TaskCard
from sandbox.graph import CreditGraph
from sandbox.prover.bounds import loose_indices
from sandbox.prover.domain import FLOAT32, INF, REAL
from sandbox.prover.interpreter import interpret
from sandbox.shapes import Shapes


@dataclass(frozen=True)
class Proof:
    """What holds for every state within the card's ranges.

    ``monotone``, ``linear_in_q`` and ``slopes`` are claims in real arithmetic for all Q; ``finite``
    is a claim in float32 for |Q| up to ``q_bound``. False means "not proved", never "refuted".
    """

    monotone: bool
    linear_in_q: bool
    finite: bool
    rows_independent: bool
    slopes: tuple[tuple[float, float], ...]
    """Per agent, bounds of the derivative of q_tot with respect to its Q."""
    q_bound: float
    computed_indices: bool = False
    """Whether it reads or writes at computed places."""
    loose_index_line: int | None = None
    """Line of the first index that was not proved in bounds (0: line unknown); it is clamped."""


def prove(graph: CreditGraph, shapes: Shapes, card: TaskCard) -> Proof:
    """Interpret a gated graph over all states of the card, in real arithmetic and in float32.

    It assumes that rows do not mix where it cannot see that they do; an operation that may mix
    rows makes everything after it unknown.
    """
    ranges, whole = card.column_intervals(), whole_columns(card)
    bound = card.q_bound()
    ref = graph.outputs["q_tot"]
    all_real = interpret(graph, shapes, REAL, (-INF, INF), ranges, whole)
    real = all_real[ref.value][ref.out]
    computed, loose = loose_indices(graph, shapes, all_real)
    every = interpret(graph, shapes, FLOAT32, (-bound, bound), ranges, whole)
    rounded = every[ref.value][ref.out]
    s = real.slopes(graph.n_agents)
    slopes = tuple(
        (float(s.lo[i].min()) + 0.0, float(s.hi[i].max()) + 0.0) for i in range(graph.n_agents)
    )
    return Proof(
        monotone=not real.is_unknown and all(lo >= 0 for lo, _ in slopes),
        linear_in_q=not real.is_unknown and not bool(real.curved.any()),
        finite=not rounded.is_unknown and not bool(rounded.bad.any()),
        rows_independent=not real.is_unknown,
        slopes=slopes,
        q_bound=bound,
        computed_indices=computed,
        loose_index_line=loose,
    )


def whole_columns(card: TaskCard) -> list[bool]:
    """Per state column, whether it holds whole numbers only (sentinels included)."""
    return [
        s.unused
        or (s.kind != "real" and all(float(v).is_integer() for v in (s.low, s.high, *s.sentinels)))
        for s in card.state
        for _ in range(s.size)
    ]
