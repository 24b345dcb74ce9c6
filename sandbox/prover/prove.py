"""Prove monotonicity, linearity and finiteness of a gated credit graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from prompts.cards import TaskCard
from sandbox.claims import Proof
from sandbox.graph import CreditGraph
from sandbox.inference import Types
from sandbox.prover.bounds import loose_indices
from sandbox.prover.domain import FLOAT32, REAL, Abstract
from sandbox.prover.gradients import gradient
from sandbox.prover.interpreter import interpret
from sandbox.prover.opposing import keeps_directions
from sandbox.prover.registry import Results
from sandbox.prover.splitting import Box, parts
from sandbox.prover.walk import TRUSTED, Budget


def prove(graph: CreditGraph, types: Types, card: TaskCard) -> Proof:
    """Interpret a gated graph over all states of the card, in float32 and over the reals.

    What the whole box of inputs does not show is tried again in parts, split where the graph
    compares a state column or a Q with a constant. Work and memory are bounded by the graph's own
    bounds and those of the interpreter and of the parts; what would take more is not proved.
    """
    prover = _Prover(graph, types, card.q_bound())
    box = Box.of(card)
    proof, every = prover.within(box)
    asks = graph.gate is None or graph.gate.mode == "enforce"
    falls = asks and not proof.monotone and graph.signature != "weights"
    if falls or not proof.finite_throughout:
        boxes = parts(graph, types, box, every, agent_qs=False, most=prover.affords)
        cases = prover.by_cases(boxes)
        proof = _together(cases) if cases else proof
    if not proof.finite_throughout:
        boxes = parts(graph, types, box, every, agent_qs=True, most=prover.affords)
        # Across a part's end q_tot may fall, so that only finiteness follows from parts of Qs.
        cases = prover.by_cases(boxes, finite=True)
        if cases:
            gradient = all(c.finite_gradient for c in cases)
            proof = replace(proof, finite=True, finite_gradient=proof.finite_gradient or gradient)
    return proof


@dataclass
class _Prover:
    """Proves a graph within boxes of inputs, as far as its budget goes."""

    graph: CreditGraph
    types: Types
    bound: float
    budget: Budget = field(default_factory=Budget)
    boxes: int = 0

    @property
    def affords(self) -> int:
        """How many boxes more the budget is enough for, by what those so far have cost."""
        each = max(1, self.budget.spent // max(1, self.boxes))
        return self.budget.left // each

    def by_cases(self, boxes: list[Box], *, finite: bool = False) -> list[Proof]:
        """A proof for each part of what is split; none where it is whole, or beyond the budget.

        Args:
            boxes: the parts.
            finite: none either where one of the parts is not proved finite.
        """
        found: list[Proof] = []
        for box in boxes if len(boxes) > 1 else ():
            if not self.budget.left:
                return []
            found.append(self.within(box)[0])
            if finite and not found[-1].finite:
                return []
        return found

    def within(self, box: Box) -> tuple[Proof, list[Results]]:
        """What holds within a box; and what is known of every value in float32."""
        graph, types, n = self.graph, self.types, self.graph.n_agents
        ranges = box.agent_qs, box.state, box.whole
        self.boxes += 1
        ref = graph.outputs["q_tot"]
        every = interpret(graph, types, FLOAT32, *ranges, budget=self.budget)
        exact = interpret(graph, types, REAL, *ranges, every, self.budget)
        rounded, real = every[ref.value][ref.out], exact[ref.value][ref.out]
        computed, loose = loose_indices(graph, types, every)
        finite = not rounded.is_unknown and not bool(rounded.bad.any())
        slopes = _per_agent(real, n)
        back = gradient(graph, types, every)
        rises = finite and not real.is_unknown and all(lo >= 0 for lo, _ in slopes)
        near = back.rounding <= TRUSTED * float(rounded.value.size().max())
        widths = [high - low for low, high in box.agent_qs]

        def ends() -> list[list[Results]]:
            sides = ([(q[k], q[k]) for q in box.agent_qs] for k in (0, 1))
            return [
                interpret(graph, types, FLOAT32, side, box.state, box.whole, budget=self.budget)
                for side in sides
            ]

        kept = rises and near
        if kept:
            wide = interpret(graph, types, REAL, *ranges, every, self.budget, wide=True)
            kept = keeps_directions(graph, types, every, exact, wide, widths, ends)
        proof = Proof(
            monotone=finite and all(lo >= 0 for lo, _ in _per_agent(rounded, n)),
            monotone_over_reals=kept,
            # Weights and bias read no Q (`sandbox.contract`).
            linear_in_q=graph.signature == "weights"
            or (not real.is_unknown and not bool(real.curved.any())),
            finite=finite,
            finite_gradient=finite and back.finite,
            rounding=back.rounding,
            slopes=slopes,
            q_bound=self.bound,
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
        rounding=max(c.rounding for c in cases),
        loose_index_line=lines[0] if lines else None,
    )


def _per_agent(x: Abstract, n_agents: int) -> tuple[tuple[float, float], ...]:
    """Bounds of the slope with respect to each agent's Q."""
    s = x.slopes(n_agents)
    return tuple((float(s.lo[i].min()) + 0.0, float(s.hi[i].max()) + 0.0) for i in range(n_agents))
