"""What all examples of a property suite show together, most of it worth a warning and no more.

Does credit reach someone, does the state matter, does a column that the card declares unused, do
agents that the card calls exchangeable get the same credit, does float32 follow float64, and what
happens outside the declared ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from prompts.cards import StateSlice, TaskCard
from sandbox.claims import PropertyResult, Status
from sandbox.draws import show_qs, show_state
from sandbox.graph import STATE
from sandbox.runtime import CreditFunction

WARN_SLOPE = 1_000.0
PRECISION = 1e-2
"""Relative difference between float32 and float64 that is worth a word."""
FAR = 3.0
"""How far outside the declared ranges the far tier goes, as a multiple of the distance to their
middle."""


class Example(Protocol):
    """A drawn batch with the function's answer to it."""

    states: np.ndarray
    agent_qs: np.ndarray
    state: Tensor
    qs: Tensor
    q_tot: Tensor
    gradient: Tensor

    def show(self, i: int) -> str:
        """Row ``i`` in the card's names."""
        ...

    def exact(self) -> tuple[Tensor, Tensor, Tensor]:
        """In float64: q_tot, and q_tot with each agent's Q raised in turn, first."""
        ...


@dataclass
class Observations:
    """Gathers over the examples of one function."""

    function: CreditFunction
    card: TaskCard

    def __post_init__(self) -> None:
        self.examples = self.batches = 0
        self.credited: set[int] = set()
        self.steps = False
        """Whether raising an agent's Q changed q_tot, whatever its gradient is."""
        self.state_matters = False
        self.largest_slope, self.slope_at = 0.0, ""
        self.rounding = 0.0
        """Largest difference between q_tot in float32 and in float64."""
        self.unused_column: str | None = None
        self.found: dict[str, str] = {}
        """The first finding of ``exchangeable``, ``float_precision`` and ``outside_ranges``."""
        low, high = (np.array([r[k] for r in self.card.column_intervals()]) for k in (0, 1))
        self._middle = torch.tensor((low + high) / 2, dtype=torch.float32)
        self._swaps = _swaps(self.card)

    def notice(self, e: Example) -> None:
        """Look at one batch."""
        self.examples += len(e.states)
        self.batches += 1
        before, after = e.exact()[:2]
        self.steps |= bool((after.reshape(len(before), -1) != before).any())
        size = e.gradient.detach().abs().nan_to_num()
        self.credited |= {int(j) for j in torch.nonzero(size.amax(0) > 0)[:, 0]}
        if float(size.max()) > self.largest_slope:
            self.largest_slope = float(size.max())
            self.slope_at = e.show(int(size.amax(1).argmax()))
        error = (e.q_tot.double() - e.exact()[0]).abs().nan_to_num(posinf=0.0)
        self.rounding = max(self.rounding, float(error.max()))
        with torch.no_grad():
            if not self.state_matters:
                self._compare(e.qs[:1], e.state)
            if self.unused_column is None:
                self.unused_column = self._unused_column(e)
            for name, look in _LOOKS.items():
                if name not in self.found:
                    text = look(self, e)
                    if text:
                        self.found[name] = text

    def compare_states(self, states: Tensor) -> None:
        """See whether q_tot differs between states ``[N, s]`` for equal Qs."""
        n = self.card.n_agents
        with torch.no_grad():
            for qs in (torch.zeros(1, n), torch.linspace(-1.0, 1.5, n)[None]):
                self._compare(qs, states)

    def _compare(self, qs: Tensor, states: Tensor) -> None:
        values = self.function(qs.expand(len(states), -1), states).nan_to_num()
        self.state_matters |= bool((values != values[0]).any())

    def _unused_column(self, e: Example) -> str | None:
        """The first declared-unused slice that changes q_tot when it is disturbed."""
        unused = [(part, at) for part, at in self.card.offsets() if part.unused]
        if not unused or not self._disturbed(e, unused):
            return None
        return next((p.name for p, at in unused if self._disturbed(e, [(p, at)])), None)

    def _disturbed(self, e: Example, parts: list[tuple[StateSlice, int]]) -> bool:
        """Whether q_tot changes when slices are disturbed."""
        disturbed = e.state.clone()
        for part, at in parts:
            disturbed[:, at : at + part.size] += 1.0
        changed = self.function(e.qs, disturbed)
        return not torch.equal(changed.nan_to_num(), e.q_tot.nan_to_num())

    def _exchangeable(self, e: Example) -> str | None:
        """Two exchangeable agents change places, with all that is theirs: q_tot must not care."""
        for order, columns in self._swaps:
            swapped = self.function(e.qs[:, order], e.state[:, columns])
            apart = (swapped - e.q_tot).abs() > 1e-4 * (1 + e.q_tot.abs())
            if bool(apart.any()):
                i = int(apart.nonzero()[0, 0])
                a, b = (k for k, o in enumerate(order) if k != o)
                return (
                    f"agents {a} and {b} are exchangeable, but when they change places q_tot goes "
                    f"from {float(e.q_tot[i, 0]):.6g} to {float(swapped[i, 0]):.6g} at {e.show(i)}"
                )
        return None

    def _float_precision(self, e: Example) -> str | None:
        exact = e.exact()[0]
        error = (e.q_tot.double() - exact).abs()
        apart = error > PRECISION * (1 + exact.abs())
        if not bool(apart.any()):
            return None
        i = int(apart.nonzero()[0, 0])
        return (
            f"float32 gives {float(e.q_tot[i, 0]):.6g} where float64 gives {float(exact[i, 0]):.6g}"
            f" (rounding, or a comparison at its boundary) at {e.show(i)}"
        )

    def _outside_ranges(self, e: Example) -> str | None:
        far = self._middle + (e.state - self._middle) * FAR
        values = self.function(e.qs, far)
        bad = ~torch.isfinite(values[:, 0]) & torch.isfinite(e.q_tot[:, 0])
        if not bool(bad.any()):
            return None
        i = int(bad.nonzero()[0])
        where = show_state(self.card, far[i].double().numpy())
        return (
            f"outside the declared ranges q_tot is {float(values[i, 0])}: state {where}; agent_qs "
            f"{show_qs(e.agent_qs[i])}"
        )

    def summary(self) -> list[PropertyResult]:
        """The findings as properties; only a function that credits nobody fails."""
        n = self.card.n_agents
        missing = [i for i in range(n) if i not in self.credited]
        results = []

        def say(name: str, good: bool, bad_status: Status, detail: str) -> None:
            status: Status = "pass" if good else bad_status
            told = "" if good else detail
            results.append(PropertyResult(name, status, self.examples, None, told))

        nobody = "no agent's Q ever changes q_tot, so nothing can be learned from it"
        if self.steps:
            nobody = (
                "q_tot changes with the Qs only in steps: its gradient is zero wherever it was "
                "looked at (rounding, a comparison, or a curve too steep for float32), so nothing "
                "can be learned from it"
            )
        say("someone_credited", len(missing) < n, "fail", nobody)
        if len(missing) < n:
            listed = ", ".join(map(str, missing))
            say("every_agent_credited", not missing, "warn", f"agents never credited: {listed}")
        plain = "the function does not read the state (like VDN)"
        if self.function.graph.reads(STATE, "q_tot"):
            plain = "none of the states that were tried changed q_tot: where one does, it is rare"
        say("state_matters", self.state_matters, "warn", plain)
        if any(part.unused for part in self.card.state):
            read = f"it reads `{self.unused_column}`, which the task declares unused"
            say("unused_columns", self.unused_column is None, "warn", read)
        steep = f"d q_tot / d Q reaches {self.largest_slope:.3g} at {self.slope_at}"
        say("slope_scale", self.largest_slope <= WARN_SLOPE, "warn", steep)
        for name in _LOOKS:
            if name != "exchangeable" or self._swaps:
                say(name, name not in self.found, "warn", self.found.get(name, ""))
        return results


_LOOKS = {
    "exchangeable": Observations._exchangeable,
    "float_precision": Observations._float_precision,
    "outside_ranges": Observations._outside_ranges,
}


def _swaps(card: TaskCard) -> list[tuple[list[int], list[int]]]:
    """Per group of exchangeable agents, one swap of two: of the agents, and of the columns."""
    swaps = []
    for group in card.exchangeable:
        if len(group) > 1:
            order = list(range(card.n_agents))
            order[group[0]], order[group[1]] = group[1], group[0]
            swaps.append((order, list(card.swapped_columns(order))))
    return swaps
