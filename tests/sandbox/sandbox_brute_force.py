"""Hold every claim of the prover against evaluation: of every value, at many states and Qs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompts.cards import StateSlice, TaskCard
from sandbox.claims import Proof
from sandbox.graph import CreditGraph
from sandbox.inference import Types, infer_types
from sandbox.prover.domain import FLOAT32, REAL, Abstract
from sandbox.prover.interpreter import interpret
from sandbox.prover.prove import prove
from sandbox.prover.splitting import Box, compared_with, whole_columns
from sandbox.runtime import CreditFunction

ROWS = 48


class Unsound(AssertionError):
    """A claim of the prover that an evaluation refutes."""


def _values_of(s: StateSlice, rng: np.random.Generator, rows: int) -> np.ndarray:
    """Columns of one slice: ordinary values, ends, sentinels, rows that agree throughout."""
    size = s.size
    if s.unused:
        return np.zeros((rows, size))
    if s.kind == "onehot":
        out = np.zeros((rows, size // s.shape[-1], s.shape[-1]))
        at = rng.integers(s.shape[-1] + 1, size=out.shape[:2])
        for i in range(s.shape[-1]):
            out[..., i] = at == i
        return out.reshape(rows, size)
    if s.kind == "real":
        values = rng.uniform(s.low, s.high, size=(rows, size))
    else:
        values = rng.integers(int(s.low), int(s.high) + 1, size=(rows, size)).astype(float)
    ends = np.array([s.low, s.high, *s.sentinels])
    if s.low <= 0 <= s.high:
        ends = np.append(ends, 0.0)
    special = rng.random((rows, 1)) * rng.random((rows, size)) > 0.4
    values = np.where(special, rng.choice(ends, size=(rows, size)), values)
    for i, end in enumerate(ends[: rows // 2]):
        values[i] = end
    return values


def states(card: TaskCard, rng: np.random.Generator, rows: int = ROWS) -> Tensor:
    """States of a card, float64."""
    parts = [_values_of(s, rng, rows) for s in card.state]
    state = np.concatenate(parts, axis=1)
    if card.start_state is not None:
        state[0] = card.start_state
    return torch.from_numpy(state)


def values_of_agents(
    card: TaskCard, rng: np.random.Generator, bound: float, rows: int = ROWS
) -> Tensor:
    """Qs within a bound, float64: small, large, equal, at the ends."""
    scale = rng.choice([0.0, 0.1, 1.0, 10.0, bound], size=(rows, 1))
    qs = np.clip(rng.normal(size=(rows, card.n_agents)) * scale, -bound, bound)
    ends = rng.random((rows, 1)) < 0.2
    return torch.from_numpy(np.where(ends, rng.choice([-bound, bound], size=qs.shape), qs))


@dataclass
class _Claims:
    """The abstract values of one reading, with the function they speak of."""

    graph: CreditGraph
    function: CreditFunction
    types: Types
    abstract: list[tuple[Abstract, ...]]

    def pairs(self, concrete: list[Any]) -> Any:
        """Every result with its claim, rows in front; unknown ones left out."""
        for number, results in enumerate(self.abstract):
            made = concrete[number]
            tensors = [made] if isinstance(made, Tensor) else list(made)
            # An operation may have more results than graphs may read.
            for k, (claim, tensor) in enumerate(zip(results, tensors, strict=False)):
                if not claim.is_unknown:
                    yield number, k, claim, tensor

    def fail(self, number: int, what: str) -> None:
        at = number - self.graph.first_operation
        op = self.graph.operations[at] if at >= 0 else "input"
        raise Unsound(f"value {number} = {op}: {what}")


def _check_values(claims: _Claims, concrete: list[Any], slack: float) -> None:
    for number, _, claim, tensor in claims.pairs(concrete):
        v = tensor.double()
        finite = torch.isfinite(v)
        bad = torch.broadcast_to(claim.bad, v.shape)
        if slack == 0.0 and bool((~finite & ~bad).any()):
            claims.fail(number, "not finite where it must be")
        room = (slack * (1 + v.abs())).nan_to_num(posinf=0.0)
        outside = (v < claim.value.lo - room) | (v > claim.value.hi + room)
        if bool(outside.any()):
            i = tuple(int(x) for x in outside.nonzero()[0])
            lo, hi = (torch.broadcast_to(e, v.shape)[i].item() for e in claim.value)
            claims.fail(number, f"{v[i].item()!r} is not in [{lo!r}, {hi!r}] at {i}")
        whole = torch.broadcast_to(claim.whole, v.shape)
        if bool((finite & whole & ~bad & (v != v.round())).any()):
            claims.fail(number, "a fraction where whole numbers must be")


def _trusted(claims: _Claims, concrete: list[Any]) -> Tensor:
    """Rows in which nothing overflowed, or cancelled badly, that real arithmetic would not."""
    rows = len(concrete[0])
    good = torch.ones(rows, dtype=torch.bool)
    for _, _, claim, tensor in claims.pairs(concrete):
        wrong = (~torch.isfinite(tensor) | (tensor.double().abs() > 1e6)) & ~claim.bad
        if claim.batch_axis is not None and tensor.is_floating_point():
            good &= ~wrong.movedim(claim.batch_axis, 0).reshape(rows, -1).any(1)
    return good


def _rows_of(claim: Abstract, tensor: Tensor, keep: Tensor) -> Tensor:
    return tensor if claim.batch_axis is None else tensor.index_select(claim.batch_axis, keep)


def _check_slopes(
    claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator, bound: float
) -> None:
    base = claims.function.evaluate(qs, state)
    good = _trusted(claims, base)
    for agent in range(qs.shape[1]):
        step = min(float(rng.choice([1e-2, 1.0, 50.0])), bound / 2)
        moved = qs.clone()
        moved[:, agent] += step
        other = claims.function.evaluate(moved, state)
        keep = (good & _trusted(claims, other)).nonzero()[:, 0]
        for (number, k, claim, a), (*_, b) in zip(
            claims.pairs(base), claims.pairs(other), strict=True
        ):
            if claim.batch_axis is None or a.dtype == torch.bool:
                continue
            u, v = (_rows_of(claim, t.double(), keep) for t in (a, b))
            secant = (v - u) / step
            room = 1e-7 * (1 + u.abs() + v.abs()) / step + 1e-7 * secant.abs()
            s = claim.slopes(qs.shape[1])
            low, high = s.lo[agent], s.hi[agent]
            wrong = torch.isfinite(secant) & ((secant < low - room) | (secant > high + room))
            if bool(wrong.any()):
                i = tuple(int(x) for x in wrong.nonzero()[0])
                lo, hi = (torch.broadcast_to(e, secant.shape)[i].item() for e in (low, high))
                claims.fail(
                    number,
                    f"slope {secant[i].item()!r} for agent {agent} is not in [{lo!r}, {hi!r}] at "
                    f"{i} (result {k}, step {step})",
                )


def _check_flatness(
    claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator, bound: float
) -> None:
    """Where a value is not curved, the middle of two Qs gives the middle of the values."""
    apart = torch.from_numpy(rng.normal(size=qs.shape) * rng.choice([0.1, 3.0, 30.0]))
    far = (qs + apart).clamp(-bound, bound)
    triple = [claims.function.evaluate(x, state) for x in (qs, far, (qs + far) / 2)]
    keep = torch.ones(len(qs), dtype=torch.bool)
    for values in triple:
        keep &= _trusted(claims, values)
    rows = keep.nonzero()[:, 0]
    for (number, _, claim, a), (*_, b), (*_, m) in zip(
        *(claims.pairs(values) for values in triple), strict=True
    ):
        if claim.batch_axis is None or a.dtype == torch.bool:
            continue
        u, v, w = (_rows_of(claim, t.double(), rows) for t in (a, b, m))
        room = 1e-7 * (1 + u.abs() + v.abs())
        wrong = torch.isfinite(u + v + w) & (((u + v) / 2 - w).abs() > room)
        if bool((wrong & ~claim.curved).any()):
            claims.fail(number, "curved in the Qs although it is called affine")


def _check_directions(claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator) -> None:
    """In float32, to the last bit: what is called rising never falls, what is untouched stays."""
    base = claims.function.evaluate(qs, state)
    for agent in range(qs.shape[1]):
        up = qs.clone()
        step = rng.choice([1e-6, 1e-2, 1.0, 50.0], size=len(qs))
        up[:, agent] = torch.maximum(
            torch.nextafter(up[:, agent], torch.tensor(torch.inf)),
            up[:, agent] + torch.from_numpy(step).float(),
        ).clamp(max=float(qs.abs().max()) + 1)
        other = claims.function.evaluate(up, state)
        for (number, _, claim, a), (*_, b) in zip(
            claims.pairs(base), claims.pairs(other), strict=True
        ):
            if claim.batch_axis is None:
                continue
            s = claim.slopes(qs.shape[1])
            low, high = (torch.broadcast_to(e[agent], a.shape) for e in s)
            u, v = a.double(), b.double()
            known = ~(u.isnan() | v.isnan())
            wrong = known & (((low >= 0) & (v < u)) | ((high <= 0) & (v > u)))
            if bool(wrong.any()):
                i = tuple(int(x) for x in wrong.nonzero()[0])
                claims.fail(
                    number,
                    f"goes from {u[i].item()!r} to {v[i].item()!r} at {i} when agent {agent}'s Q "
                    f"rises, against a direction of [{low[i].item()}, {high[i].item()}]",
                )


def _check_rows(claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator) -> None:
    """A row's values must be the same in any other batch, and constants in every batch."""
    whole = claims.function.evaluate(qs, state)
    chosen = [int(i) for i in rng.permutation(len(qs))[: int(rng.integers(2, 6))]]
    part = claims.function.evaluate(qs[chosen], state[chosen])
    for number, types in enumerate(claims.types.values):
        made, again = (
            [t] if isinstance(t, Tensor) else list(t) for t in (whole[number], part[number])
        )
        for x, y, t in zip(made, again, types, strict=False):
            if t.axis is not None:
                wide = [i * t.shape[t.axis] + k for i in chosen for k in range(t.shape[t.axis])]
                x = x.index_select(t.axis, torch.tensor(wide, dtype=torch.int64))
            same = torch.allclose(x.double(), y.double(), rtol=1e-9, atol=1e-9, equal_nan=True)
            large = bool((x.double().abs().nan_to_num(posinf=1e9) > 1e6).any())
            if not same and not large:  # products of matrices add in another order
                claims.fail(number, "a row depends on other rows, or a constant on the batch")


def inputs_at_edges(
    card: TaskCard, cuts: dict[int, set[float]], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Qs and states, float32, at ends of ranges and thresholds, sentinels, and one step beside."""
    box = Box.of(card)
    sentinels = [s.sentinels for s in card.state for _ in range(s.size)] + [()] * card.n_agents
    whole = (*box.whole, *(False,) * card.n_agents)
    inputs = torch.cat([states(card, rng), values_of_agents(card, rng, card.q_bound())], 1).numpy()
    for i, ends in enumerate((*box.state, *box.agent_qs)):
        at = np.array([*ends, *sentinels[i], *cuts.get(i, ())], dtype=np.float32)
        near = np.concatenate([at, *(np.nextafter(at, np.float32(d)) for d in (-np.inf, np.inf))])
        near = np.clip(np.round(near) if whole[i] else near, *np.float32(ends))
        chosen = rng.random(len(inputs)) < 0.6
        inputs[chosen, i] = rng.choice(near, size=int(chosen.sum()))
    held = torch.from_numpy(inputs).float()
    return held[:, card.state_dim :], held[:, : card.state_dim]


def check_proof(proof: Proof, function: CreditFunction, qs: Tensor, state: Tensor) -> None:
    """What is proved of q_tot, by cases or not, in float32 and to the last bit.

    Raises:
        Unsound: it is false at one of the inputs.
    """
    leaf = qs.clone().requires_grad_()
    q_tot = function(leaf, state)
    if proof.finite_throughout and q_tot.requires_grad:
        (gradient,) = torch.autograd.grad(q_tot.sum(), leaf)
        if not bool(torch.isfinite(gradient).all()):
            raise Unsound("a gradient is not finite, as is proved")
    q_tot = q_tot.detach()
    if proof.finite and not bool(torch.isfinite(q_tot).all()):
        raise Unsound("q_tot is not finite, as is proved")
    falls = 0.0 if proof.monotone else 2 * proof.rounding
    for agent in range(qs.shape[1] if proof.monotone or proof.monotone_over_reals else 0):
        for step in (0.0, 1e-3, 1.0, 100.0):
            up = qs.clone()
            up[:, agent] = torch.nextafter(up[:, agent] + step, torch.tensor(torch.inf))
            up.clamp_(max=proof.q_bound)
            if bool((function(up, state) < q_tot - falls).any()):
                raise Unsound(f"q_tot falls when agent {agent}'s Q rises, as is proved not to be")


def refute(graph: CreditGraph, card: TaskCard, seed: int, types: Types | None = None) -> Proof:
    """Try to refute everything that is claimed of a gated graph; return what was proved.

    Raises:
        Unsound: a claim is false.
        GraphError: the graph is refused before anything is claimed.
    """
    types = types or infer_types(graph)
    rng = np.random.default_rng(seed)
    ranges, whole, bound = card.column_intervals(), whole_columns(card), card.q_bound()
    function = CreditFunction(graph)
    span = ((-bound, bound),) * card.n_agents
    in_float32 = interpret(graph, types, FLOAT32, span, ranges, whole)
    rounded = _Claims(graph, function, types, in_float32)
    real = _Claims(
        graph, function, types, interpret(graph, types, REAL, span, ranges, whole, in_float32)
    )
    state, qs = states(card, rng), values_of_agents(card, rng, bound)
    _check_values(rounded, function.evaluate(qs.float(), state.float()), 0.0)
    for scale in (0.5, 0.01):
        _check_directions(rounded, (qs * scale).float(), state.float(), rng)
    exact = function.evaluate(qs, state)
    keep = _trusted(real, exact)
    _check_values(real, function.evaluate(qs[keep], state[keep]), 1e-9)
    for scale in (0.5, 0.01):
        _check_slopes(real, qs * scale, state, rng, bound)
        _check_flatness(real, qs * scale, state, rng, bound)
    _check_rows(rounded, qs, state, rng)
    proof = prove(graph, types, card)
    check_proof(
        proof, function, *inputs_at_edges(card, compared_with(graph, types, in_float32), rng)
    )
    return proof
