"""The property suite: Hypothesis against the rebuilt, gated graph.

Everything is tested, what was proved as well, so that a wrong proof would show. One run of
Hypothesis checks all properties on each example; a property that fails is shrunk, reported, and
left out of the next run, so that each failure has a counterexample of its own. One file above 400
lines, since all properties are judged on one and the same example.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from torch import Tensor

from prompts.cards import TaskCard
from sandbox.claims import Proof, PropertyResult, Status
from sandbox.config import SandboxConfig
from sandbox.draws import BATCH, PlacedRow, Row, batches, real_batches, show_qs, show_state
from sandbox.graph import STATE, CreditGraph
from sandbox.inference import Types
from sandbox.observations import Observations
from sandbox.reach.falls import SMALLEST_RISE, falls
from sandbox.reach.reach import Reached, reach
from sandbox.reach.suspects import suspects
from sandbox.runtime import CreditFunction

MAX_JOINT_AGENTS = 8
"""Up to this many agents, two actions each, every joint action is enumerated."""

BATCHES = (1, 2, 41, 1_000)
LARGEST_BATCH, MOST_BATCH_WORK = 6_400, 4e8
"""Rows of the batches that rows must not depend on; fewer where a row costs much."""

_SOUGHT = ("finite", "finite_gradient", "monotone")
"""Looked for beside a function's own edges where they are not proved."""

HARD = (
    "finite",
    "finite_gradient",
    "deterministic",
    "row_independent",
    "monotone",
    "greedy_is_best",
)


class _Violation(Exception):
    """A property does not hold on an example."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name)
        self.name, self.text = name, text


def run_properties(
    graph: CreditGraph,
    types: Types,
    card: TaskCard,
    proof: Proof,
    config: SandboxConfig,
    states: Sequence[Sequence[float]] = (),
) -> tuple[PropertyResult, ...]:
    """Test a gated graph against its card; failures come shrunk, in the card's names.

    ``states`` are real ones, from episodes that were played: they are tried besides those that are
    drawn, and show what only play brings about.
    """
    suite = _Suite(graph, types, card, proof)
    asked = list(HARD)
    if graph.gate is None or graph.gate.mode == "relax":
        asked = [n for n in asked if n not in ("monotone", "greedy_is_best")]
    elif card.n_agents > MAX_JOINT_AGENTS:
        asked.remove("greedy_is_best")
    failed: dict[str, str] = {}
    while True:
        left = [n for n in asked if n not in failed]
        violation = suite.search(left, config)
        if violation is None:
            break
        failed[violation.name] = violation.text
    for name, shown in suite.try_real(states, [n for n in asked if n not in failed]).items():
        failed[name] = f"{shown} (a state that occurred in play)"
    proved = {
        "finite": proof.finite, "finite_gradient": proof.finite_throughout,
        "monotone": proof.monotone, "greedy_is_best": proof.monotone, "row_independent": True,
    }  # fmt: skip
    unproved = [n for n in asked if n not in failed and not proved.get(n)]
    coverage = ""
    if any(n in unproved for n in _SOUGHT):
        found, coverage = suite.try_edges(unproved, config.seed)
        failed |= found
    suite.seek_state(config.seed)
    results = [PropertyResult("shape", "proved"), PropertyResult("inputs_untouched", "proved")]
    if proof.computed_indices:
        results.append(_indices(proof))
    for name in asked:
        text = failed.get(name)
        status: Status = "fail" if text else "proved" if proved.get(name) else "pass"
        tried = suite.seen.batches if name == "greedy_is_best" else suite.seen.examples
        detail = suite.detail(name) if status != "fail" else ""
        if status == "pass" and name in _SOUGHT:
            detail = f"{detail}; {coverage}" if detail else coverage
        results.append(PropertyResult(name, status, tried, text, detail))
    return _where_finite((*results, *suite.seen.summary()))


def _where_finite(results: Sequence[PropertyResult]) -> tuple[PropertyResult, ...]:
    """The results where none that speaks of values holds while values are not finite.

    An infinity never falls and a NaN never compares, so what was tried or proved then says nothing.
    """
    if not any(r.name == "finite" and r.status == "fail" for r in results):
        return tuple(results)
    detail = "says nothing where q_tot is not finite"
    return tuple(
        dataclasses.replace(r, status="warn", detail=detail)
        if r.status in ("pass", "proved") and r.name not in _WITHOUT_VALUES
        else r
        for r in results
    )


_WITHOUT_VALUES = (
    "shape", "inputs_untouched", "indices_in_bounds", "deterministic", "row_independent",
    "unused_columns",
)  # fmt: skip
"""Properties that also hold, or do not, where values are not finite."""


def _indices(proof: Proof) -> PropertyResult:
    if proof.loose_index_line is None:
        return PropertyResult("indices_in_bounds", "proved")
    where = f" on line {proof.loose_index_line}" if proof.loose_index_line else ""
    detail = f"an index{where} may leave its range; it is clamped into it"
    return PropertyResult("indices_in_bounds", "warn", detail=detail)


class _Suite:
    def __init__(self, graph: CreditGraph, types: Types, card: TaskCard, proof: Proof) -> None:
        self.graph, self.types, self.card, self.proof = graph, types, card, proof
        self.function = CreditFunction(graph)
        self.seen = Observations(self.function, card)
        self.checks: dict[str, Callable[[_Example], None]] = {
            "finite": self._finite,
            "finite_gradient": self._finite_gradient,
            "deterministic": self._deterministic,
            "row_independent": self._row_independent,
            "monotone": self._monotone,
            "greedy_is_best": self._greedy_is_best,
        }
        self._in_batches = False
        self._known: Reached | None = None

    def search(self, names: list[str], config: SandboxConfig) -> _Violation | None:
        """Look for a violation of any of the named properties; shrink what is found."""

        @seed(config.seed)
        @settings(
            max_examples=math.ceil(config.examples / BATCH),
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            backend="hypothesis",
        )
        @given(batches(self.card))
        def holds(drawn: list[Row]) -> None:
            example = _Example(self.function, self.card, drawn, self.proof.q_bound)
            self.seen.notice(example)
            for name in names:
                self.checks[name](example)

        try:
            holds()
        except _Violation as violation:
            return violation
        return None

    def try_real(self, states: Sequence[Sequence[float]], names: list[str]) -> dict[str, str]:
        """Violations on states that really occurred, the first of each property."""
        failed: dict[str, str] = {}
        for rows in real_batches(states):
            example = _Example(self.function, self.card, rows, self.proof.q_bound)
            self.seen.notice(example)
            for name in names:
                if name not in failed:
                    try:
                        self.checks[name](example)
                    except _Violation as violation:
                        failed[name] = violation.text
        return failed

    def try_edges(self, names: list[str], seed: int) -> tuple[dict[str, str], str]:
        """Violations beside the graph's own edges, and how many of those were reached."""
        reached = self._reached(seed)
        failed: dict[str, str] = {}
        for row in suspects(self.function, reached, self.proof, "monotone" in names):
            example = self._placed(row)
            for name in [n for n in names if n not in failed and n != "greedy_is_best"]:
                violation = self._violation(name, example)
                if violation is not None:
                    failed[name] = self._simplified(name, row, violation)
        told = [f"{len(reached.states)} inputs beside the function's own edges"]
        if reached.edges:
            told.append(f"both sides of {reached.met} of {reached.edges} edges")
        if reached.conditions:
            told.append(f"{reached.turned} of {reached.conditions} conditions both ways")
        return failed, ", ".join(told)

    def seek_state(self, seed: int) -> None:
        """Look beside the function's own edges for a state that counts, if none of those drawn did.

        An agent beside a food, and strong enough for it, is rarely drawn.
        """
        if self.seen.state_matters or not self.graph.reads(STATE, "q_tot"):
            return
        for states in self._reached(seed).states.split(LARGEST_BATCH):
            self.seen.compare_states(states)

    def _reached(self, seed: int) -> Reached:
        if self._known is None:
            self._known = reach(self.graph, self.types, self.card, self.proof.q_bound, seed)
        return self._known

    def _placed(self, row: PlacedRow) -> _Example:
        return _Example(self.function, self.card, [row, row], self.proof.q_bound)

    def _violation(self, name: str, example: _Example) -> str | None:
        try:
            self.checks[name](example)
        except _Violation as violation:
            return violation.text
        return None

    def _simplified(self, name: str, row: PlacedRow, text: str) -> str:
        """A violation with as many columns at a plain value as it holds for."""
        plain = Row("low", 0, (), 0.0).state(self.card)
        if self.card.start_state is not None:
            plain = np.asarray(self.card.start_state)
        for column in range(self.card.state_dim):
            values = list(row.values)
            if values[column] == plain[column] or self.card.column(column)[0].kind == "onehot":
                continue
            values[column] = float(plain[column])
            other = dataclasses.replace(row, values=tuple(values))
            found = self._violation(name, self._placed(other))
            if found is not None:
                row, text = other, found
        return text

    def detail(self, name: str) -> str:
        """What is to be said of a property that holds."""
        if name != "monotone" or self.proof.monotone or not self.proof.monotone_over_reals:
            return ""
        return (
            "proved over the reals; rounding what depends on a Q makes at most "
            f"{self.proof.rounding:.2g} of difference in float32, all rounding made "
            f"{self.seen.rounding:.2g} in {self.seen.examples} examples"
        )

    # ---- hard properties -----------------------------------------------------------------------

    def _finite(self, e: _Example) -> None:
        bad = ~torch.isfinite(e.q_tot[:, 0])
        if bad.any():
            i = int(bad.nonzero()[0])
            raise _Violation("finite", f"q_tot is {float(e.q_tot[i, 0])} at {e.show(i)}")

    def _finite_gradient(self, e: _Example) -> None:
        if e.gradient_error:
            raise _Violation("finite_gradient", f"there is no gradient: {e.gradient_error}")
        bad = ~torch.isfinite(e.gradient) & torch.isfinite(e.q_tot)
        if bad.any():
            i, j = (int(k) for k in bad.nonzero()[0])
            raise _Violation(
                "finite_gradient",
                f"the gradient with respect to agent {j}'s Q is {float(e.gradient[i, j])} at "
                f"{e.show(i)}",
            )

    def _deterministic(self, e: _Example) -> None:
        with torch.no_grad():
            again = self.function(e.qs, e.state)
        if not torch.equal(again.nan_to_num(), e.q_tot.detach().nan_to_num()):
            raise _Violation("deterministic", f"two calls differ at {e.show(0)}")

    def _row_independent(self, e: _Example) -> None:
        """Proved by the graph's types; held once more against batches of very different sizes."""
        if self._in_batches:
            return
        rows = max(2, min(LARGEST_BATCH, int(MOST_BATCH_WORK // (self.types.row_cost + 1))))
        copies = -(-rows // len(e.rows))
        qs, state = e.qs.repeat(copies, 1)[:rows], e.state.repeat(copies, 1)[:rows]
        with torch.no_grad():
            whole = self.function(qs, state)
            for count in [n for n in BATCHES if n < rows]:
                part = self.function(qs[-count:], state[-count:])
                # Written so that a NaN, which equals nothing, is apart, too.
                apart = ~((part - whole[-count:]).abs() <= 1e-4 * (1 + part.abs()))
                apart &= part.isfinite() | whole[-count:].isfinite()
                if apart.any():
                    at = int(apart.nonzero()[0, 0])
                    i = (rows - count + at) % len(e.rows)
                    raise _Violation(
                        "row_independent",
                        f"a row's q_tot depends on the batch: {float(part[at]):.6g} among {count} "
                        f"rows becomes {float(whole[rows - count + at]):.6g} among {rows}, at "
                        f"{e.show(i)}",
                    )
        self._in_batches = True

    def _monotone(self, e: _Example) -> None:
        """q_tot must not fall when one agent's Q rises: exactly in float64, and in float32 too but
        for what rounding ordinarily takes."""
        before, after = e.exact()[0], e.exact()[1].reshape(len(e.rows), -1)
        self._no_fall(e, before, after, before - after > 1e-7 * (1 + before.abs() + e.step))
        if self.proof.monotone:
            return
        before, after = e.rounded()
        lower = falls(self.function, e.qs, e.state, before, after, self.proof.q_bound)
        self._no_fall(e, before, after, lower)
        # A dip that a step of this size jumps over shows in the slope.
        slope = e.exact_slope()
        steep = slope < -1e-7 * (1 + slope.abs().amax(1, keepdim=True))
        if steep.any():
            i, j = (int(k) for k in steep.nonzero()[0])
            raise _Violation(
                "monotone",
                f"raising agent {j}'s Q a little lowers q_tot: its slope there is "
                f"{float(slope[i, j]):.6g}, at {e.show(i)}",
            )

    def _no_fall(self, e: _Example, before: Tensor, after: Tensor, bad: Tensor) -> None:
        if bad.any():
            i, j = (int(k) for k in bad.nonzero()[0])
            raise _Violation(
                "monotone",
                f"raising agent {j}'s Q by {float(e.rises[i, j]):g} lowers q_tot from "
                f"{float(before[i, 0]):.6g} to {float(after[i, j]):.6g} at {e.show(i)}",
            )

    def _greedy_is_best(self, e: _Example) -> None:
        """With two actions for each agent, the greedy joint action must reach the best q_tot."""
        values = e.exact()[2][:, 0]
        greedy, best = float(values[-1]), float(values.max())
        if best > greedy + 1e-7 * (1 + abs(greedy)):
            joint = e.joint_qs()
            chosen = joint[int(values.argmax())].numpy()
            raise _Violation(
                "greedy_is_best",
                f"the agents' own best Qs {show_qs(joint[-1].numpy())} give q_tot {greedy:.6g}, "
                f"but {show_qs(chosen)} gives {best:.6g} at {show_state(self.card, e.states[0])}",
            )


@functools.cache
def _choices(n_agents: int) -> Tensor:
    """Every way to choose between two actions, bool [2^n, n]; the last takes the second always."""
    return torch.tensor(list(itertools.product((False, True), repeat=n_agents)))


class _Example:
    """A drawn batch with the function's answer to it."""

    def __init__(
        self, function: CreditFunction, card: TaskCard, drawn: list[Row], bound: float
    ) -> None:
        self.function, self.card, self.rows = function, card, drawn
        self.states = np.stack([r.state(card) for r in drawn])
        self.agent_qs = np.stack([r.agent_qs(card, bound) for r in drawn])
        self.state = torch.tensor(self.states, dtype=torch.float32)
        self.qs = torch.tensor(self.agent_qs, dtype=torch.float32)
        leaf = self.qs.clone().requires_grad_(True)
        self.q_tot: Tensor = function(leaf, self.state)
        self.gradient, self.gradient_error = torch.zeros_like(self.qs), ""
        if self.q_tot.requires_grad:
            try:
                (self.gradient,) = torch.autograd.grad(self.q_tot.sum(), leaf)
            except RuntimeError as error:  # torch has no derivative for some operation
                self.gradient_error = str(error).splitlines()[0][:200]
        self.q_tot = self.q_tot.detach()
        self.step = torch.tensor(
            [[max(SMALLEST_RISE, min(r.q_scale, bound))] for r in drawn], dtype=torch.float64
        )
        own = self.qs.double()
        self._raised = (own + self.step).clamp(max=bound)  # beyond it nothing is asked
        self.rises = self._raised - own
        self._exact: tuple[Tensor, ...] | None = None

    def _each_raised(self) -> Tensor:
        """The Qs with each agent's raised in turn, float64 ``[rows * n, n]``, within the bound."""
        n = self.card.n_agents
        own = torch.eye(n, dtype=torch.bool)
        return torch.where(own, self._raised[:, None], self.qs.double()[:, None]).reshape(-1, n)

    def joint_qs(self) -> Tensor:
        """Two actions for each agent, from the first two rows: every joint choice, greedy last."""
        low, high = (f(self.qs[0], self.qs[1]).double() for f in (torch.minimum, torch.maximum))
        return torch.where(_choices(self.card.n_agents), high, low)

    def exact(self) -> tuple[Tensor, Tensor, Tensor]:
        """In float64 and at once: q_tot, with each agent's Q raised in turn, of joint choices."""
        if self._exact is None:
            qs, state, n = self.qs.double(), self.state.double(), self.card.n_agents
            parts = [(qs, state), (self._each_raised(), state.repeat_interleave(n, 0))]
            if n <= MAX_JOINT_AGENTS:
                joint = self.joint_qs()
                parts.append((joint, state[:1].expand(len(joint), -1)))
            with torch.no_grad():
                values = self.function(*(torch.cat(x) for x in zip(*parts, strict=True)))
            self._exact = values.split([len(q) for q, _ in parts])
        return self._exact  # type: ignore[return-value]

    def rounded(self) -> tuple[Tensor, Tensor]:
        """In float32: q_tot ``[rows, 1]``, and with each agent's Q raised in turn ``[rows, n]``."""
        n = self.card.n_agents
        raised = self._each_raised().float()
        with torch.no_grad():
            after = self.function(raised, self.state.repeat_interleave(n, 0))
        return self.q_tot, after.reshape(len(self.rows), n)

    def exact_slope(self) -> Tensor:
        """Derivatives of q_tot with respect to every agent's Q in float64, [rows, n_agents]."""
        leaf = self.qs.double().requires_grad_(True)
        total = self.function(leaf, self.state.double()).sum()
        if not total.requires_grad:
            return torch.zeros_like(leaf)
        return torch.autograd.grad(total, leaf)[0].nan_to_num()

    def show(self, i: int) -> str:
        """Row ``i`` in the card's names."""
        return (
            f"state {show_state(self.card, self.states[i])}; agent_qs {show_qs(self.agent_qs[i])}"
        )
