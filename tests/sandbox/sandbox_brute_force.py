"""Hold every claim of the prover against evaluation: of every value, at many states and Qs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prompts.cards import StateSlice, TaskCard
from sandbox.graph import CreditGraph
from sandbox.prover.domain import FLOAT32, INF, REAL, Abstract
from sandbox.prover.interpreter import interpret
from sandbox.prover.prove import Proof, prove, whole_columns
from sandbox.runtime import CreditFunction
from sandbox.shapes import Shapes, infer_shapes

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
    shapes: Shapes
    abstract: list[tuple[Abstract, ...]]

    def pairs(self, concrete: list[Any]) -> Any:
        """Every result with its claim, rows in front; unknown ones left out."""
        for number, results in enumerate(self.abstract):
            made = concrete[number]
            tensors = [made] if isinstance(made, Tensor) else list(made)
            for k, (claim, tensor) in enumerate(zip(results, tensors, strict=True)):
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


def _check_slopes(claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator) -> None:
    base = claims.function.evaluate(qs, state)
    good = _trusted(claims, base)
    for agent in range(qs.shape[1]):
        step = float(rng.choice([1e-2, 1.0, 50.0]))
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


def _check_flatness(claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator) -> None:
    """Where a value is not curved, the middle of two Qs gives the middle of the values."""
    far = qs + torch.from_numpy(rng.normal(size=qs.shape) * rng.choice([0.1, 3.0, 30.0]))
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


def _check_rows(claims: _Claims, qs: Tensor, state: Tensor, rng: np.random.Generator) -> None:
    """A row's values must be the same in any other batch."""
    whole = claims.function.evaluate(qs, state)
    good = _trusted(claims, whole)
    chosen = [int(i) for i in rng.permutation(len(qs))[: int(rng.integers(2, 6))]]
    part = claims.function.evaluate(qs[chosen], state[chosen])
    for (number, _, claim, a), (*_, b) in zip(claims.pairs(whole), claims.pairs(part), strict=True):
        if claim.batch_axis is None:
            if a.shape == b.shape and not torch.equal(a.nan_to_num(), b.nan_to_num()):
                claims.fail(number, "depends on the batch")
            continue
        same = _rows_of(claim, a, torch.tensor(chosen))
        if not torch.allclose(same.double(), b.double(), rtol=1e-9, atol=1e-9, equal_nan=True):
            wrong = ~torch.isclose(
                same.double(), b.double(), rtol=1e-9, atol=1e-9, equal_nan=True
            ).movedim(claim.batch_axis, 0).reshape(len(chosen), -1).all(1)
            if bool((wrong & good[chosen]).any()):
                claims.fail(number, "a row depends on other rows")


def refute(graph: CreditGraph, card: TaskCard, seed: int, shapes: Shapes | None = None) -> Proof:
    """Try to refute everything that is claimed of a gated graph; return what was proved.

    Raises:
        Unsound: a claim is false.
        GraphError: the graph is refused before anything is claimed.
    """
    shapes = shapes or infer_shapes(graph)
    rng = np.random.default_rng(seed)
    ranges, whole, bound = card.column_intervals(), whole_columns(card), card.q_bound()
    function = CreditFunction(graph)
    rounded = _Claims(
        graph, function, shapes,
        interpret(graph, shapes, FLOAT32, (-bound, bound), ranges, whole),
    )  # fmt: skip
    real = _Claims(
        graph, function, shapes, interpret(graph, shapes, REAL, (-INF, INF), ranges, whole)
    )
    state, qs = states(card, rng), values_of_agents(card, rng, bound)
    _check_values(rounded, function.evaluate(qs.float(), state.float()), 0.0)
    wide = values_of_agents(card, rng, 1000.0)
    exact = function.evaluate(wide, state)
    keep = _trusted(real, exact)
    _check_values(real, function.evaluate(wide[keep], state[keep]), 1e-9)
    for scale in (1.0, 0.01):
        _check_slopes(real, wide * scale, state, rng)
        _check_flatness(real, wide * scale, state, rng)
    _check_rows(real, wide, state, rng)
    return prove(graph, shapes, card)
