"""What is claimed of a credit function: proofs, and the results of tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Igm = Literal["by-gate", "proved", "proved-over-reals", "tested", "violated", "not-required"]
"""How monotonicity stands. ``by-gate`` and ``proved`` hold in float32 (the former where the weights
are finite); ``proved-over-reals`` holds for the exact function, which float32 follows up to
rounding."""
Finite = Literal["proved", "tested", "violated"]
Status = Literal["pass", "fail", "warn", "proved"]


@dataclass(frozen=True)
class Proof:
    """What holds for every state within the card's ranges and every |Q| up to ``q_bound``.

    False means "not proved", never "refuted".
    """

    monotone: bool
    """In float32, as it runs: q_tot never falls when an agent's Q rises."""
    monotone_over_reals: bool
    """The same of the exact function, which float32 follows up to ``rounding``, a thousandth of
    q_tot's own size at most, and without a step. Where paths from a Q oppose each other, rounding
    is also a thousandth at most of what the Qs do in the state in which they do least."""
    linear_in_q: bool
    """Of the exact function: affine in the agents' Qs."""
    finite: bool
    """In float32: neither infinite nor NaN."""
    finite_gradient: bool
    """The same of the gradient with respect to the agents' Qs, as autograd finds it."""
    slopes: tuple[tuple[float, float], ...]
    """Per agent, bounds of the exact function's derivative with respect to its Q."""
    q_bound: float
    rounding: float = math.inf
    """How far float32's q_tot may be from the exact function's, by rounding what depends on a Q."""
    computed_indices: bool = False
    """Whether it reads or writes at computed places."""
    loose_index_line: int | None = None
    """Line of the first index that was not proved in bounds (0: line unknown); it is clamped."""

    @classmethod
    def of_nothing(cls, n_agents: int, q_bound: float) -> Proof:
        """Nothing is proved."""
        open_ends = ((-math.inf, math.inf),) * n_agents
        return cls(False, False, False, False, False, open_ends, q_bound)

    @property
    def finite_throughout(self) -> bool:
        """Whether both value and gradient are finite."""
        return self.finite and self.finite_gradient


@dataclass(frozen=True)
class PropertyResult:
    """One property of the credit graph, proved or tested."""

    name: str
    status: Status
    examples: int = 0
    """How many examples were tried; 0 where the property was proved."""
    counterexample: str | None = None
    """The shrunk counterexample in the task card's own names."""
    detail: str = ""


@dataclass(frozen=True)
class Findings:
    """What judging a gated graph gave."""

    proof: Proof
    properties: tuple[PropertyResult, ...]
    by_gate: bool
    """Whether the gate makes every weight non-negative."""
    asks_monotone: bool
    """Whether the gate asks for monotonicity."""

    @property
    def failures(self) -> list[PropertyResult]:
        """Properties that do not hold."""
        return [p for p in self.properties if p.status == "fail"]

    def _failed(self, *names: str) -> bool:
        return any(p.name in names for p in self.failures)

    @property
    def igm(self) -> Igm:
        """How monotonicity stands under the gate."""
        if not self.asks_monotone:
            return "not-required"
        if self._failed("monotone", "greedy_is_best"):
            return "violated"
        if self.finite == "violated":
            return "tested"  # an infinity never falls, so nothing is shown beyond what was tried
        if self.by_gate:
            return "by-gate"
        if self.proof.monotone:
            return "proved"
        return "proved-over-reals" if self.proof.monotone_over_reals else "tested"

    @property
    def finite(self) -> Finite:
        """How finiteness stands, of the value and of its gradient."""
        if self._failed("finite", "finite_gradient"):
            return "violated"
        return "proved" if self.proof.finite_throughout else "tested"

    @property
    def unproved(self) -> list[str]:
        """Properties that hold on everything that was tried, and are not proved."""
        finite = "finite_gradient" if self.proof.finite else "finite"
        claims = {"monotone": self.igm, finite: self.finite}
        return [name for name, how in claims.items() if how == "tested"]


def slopes_from_text(pairs: Sequence[Sequence[str]]) -> tuple[tuple[float, float], ...]:
    """Slopes back from texts, which JSON's numbers cannot hold where they are infinite."""
    return tuple((float(low), float(high)) for low, high in pairs)
