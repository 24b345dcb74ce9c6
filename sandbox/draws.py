"""Hypothesis strategies for states and Qs, made from the task card.

A row is drawn as a mode, a seed and a few overrides rather than column by column: large states stay
cheap to draw and shrink well, and coincidences that blind floats never hit (equal positions, an
exact difference of one, everyone gone) are drawn on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from prompts.cards import StateSlice, TaskCard

MODES = ("start", "low", "high", "sentinel", "equal", "corners", "ordinary", "ordinary", "ordinary")
Q_SCALES = (1.0, 0.0, 0.01, 10.0, 100.0, float("inf"))
"""Sizes of drawn Qs; the last one means as large as they may be."""
BATCH = 4
"""Rows drawn and evaluated together; each counts as an example."""
PICKS = 8
"""Interesting values of a column that an override chooses among (they repeat in a circle)."""


@dataclass(frozen=True)
class Row:
    """One drawn state with one vector of agents' Qs."""

    mode: str
    seed: int
    overrides: tuple[tuple[int, int], ...]
    q_scale: float

    def state(self, card: TaskCard) -> np.ndarray:
        """The state, float64 [state_dim]."""
        rng = np.random.default_rng(self.seed)
        parts = [_slice_values(s, self.mode, rng) for s in card.state]
        state = np.concatenate(parts)
        if self.mode == "start" and card.start_state is not None:
            state = np.asarray(card.start_state, dtype=np.float64).copy()
        for column, pick in self.overrides:
            values = interesting(card.column(column)[0])
            state[column] = values[pick % len(values)]
        return state

    def agent_qs(self, card: TaskCard, bound: float) -> np.ndarray:
        """The Qs, float64 [n_agents], within ``bound``."""
        rng = np.random.default_rng(self.seed + 1)
        scale = min(self.q_scale, bound)
        return np.clip(np.round(rng.normal(size=card.n_agents) * scale, 4), -bound, bound)


@dataclass(frozen=True)
class RealRow(Row):
    """A state that really occurred, with drawn Qs."""

    values: tuple[float, ...] = ()

    def state(self, card: TaskCard) -> np.ndarray:
        """The state, float64 [state_dim]."""
        return np.asarray(self.values, dtype=np.float64)


@dataclass(frozen=True)
class PlacedRow(Row):
    """A state and Qs that were chosen, with the size of the rise to try."""

    values: tuple[float, ...] = ()
    qs: tuple[float, ...] = ()

    def state(self, card: TaskCard) -> np.ndarray:
        """The state, float64 [state_dim]."""
        return np.asarray(self.values, dtype=np.float64)

    def agent_qs(self, card: TaskCard, bound: float) -> np.ndarray:
        """The Qs, float64 [n_agents]."""
        return np.asarray(self.qs, dtype=np.float64)


def real_batches(states: Sequence[Sequence[float]]) -> Iterator[list[Row]]:
    """States that really occurred in whole batches, with Qs of every size in turn."""
    for at in range(0, len(states), BATCH):
        some = [states[(at + k) % len(states)] for k in range(BATCH)]
        yield [
            RealRow("real", at + k, (), Q_SCALES[(at + k) % len(Q_SCALES)], tuple(values))
            for k, values in enumerate(some)
        ]


def interesting(s: StateSlice) -> list[float]:
    """Values of a slice worth trying one by one: sentinels, ends, middle, neighbours."""
    if s.unused:
        return [0.0]
    values = [s.low, s.high, *s.sentinels]
    if s.kind == "integer":
        values += [min(s.low + 1, s.high), float(round((s.low + s.high) / 2))]
    elif s.kind == "real":
        values += [(s.low + s.high) / 2, s.low + (s.high - s.low) / 3]
        if s.low <= 0 <= s.high:
            values += [0.0]
    else:
        values = [0.0, 1.0]
    return list(dict.fromkeys(values))


def _slice_values(s: StateSlice, mode: str, rng: np.random.Generator) -> np.ndarray:
    size = s.size
    if s.unused:
        return np.zeros(size)
    if s.kind == "onehot":
        return _one_hot(s, mode, rng)
    if mode in ("low", "start"):
        return np.full(size, s.low)
    if mode == "high":
        return np.full(size, s.high)
    if mode == "sentinel":
        pool = s.sentinels or (s.low,)
        return np.full(size, pool[int(rng.integers(len(pool)))])
    if mode == "equal":
        return np.full(size, _ordinary(s, 1, rng)[0])
    if mode == "corners":
        return np.asarray(interesting(s))[rng.integers(len(interesting(s)), size=size)]
    values = _ordinary(s, size, rng)
    if s.sentinels:
        special = rng.random(size) < 0.2
        values = np.where(special, rng.choice(s.sentinels, size=size), values)
    return values


def _ordinary(s: StateSlice, size: int, rng: np.random.Generator) -> np.ndarray:
    if s.kind in ("integer", "boolean"):
        return rng.integers(int(s.low), int(s.high) + 1, size=size).astype(np.float64)
    return rng.uniform(s.low, s.high, size=size)


def _one_hot(s: StateSlice, mode: str, rng: np.random.Generator) -> np.ndarray:
    """One-hot along the last axis; all zero (nothing chosen yet) at the start and as a corner."""
    groups, width = s.size // s.shape[-1], s.shape[-1]
    out = np.zeros((groups, width))
    if mode in ("start", "sentinel"):
        return out.reshape(-1)
    at = {"low": np.zeros(groups, int), "high": np.full(groups, width - 1)}.get(mode)
    if at is None:
        at = rng.integers(width, size=groups)
        if mode == "equal":
            at[:] = at[0]
    out[np.arange(groups), at] = 1.0
    return out.reshape(-1)


def batches(card: TaskCard, size: int = BATCH) -> st.SearchStrategy[list[Row]]:
    """A few rows.

    Few draws make an example cheap: one for a row's mode and scale, one for its seed, and one for
    each place that is overridden.
    """
    one_hot = np.concatenate([np.full(s.size, s.kind == "onehot") for s in card.state])
    free = [int(i) for i in np.flatnonzero(~one_hot)]
    kinds = [(mode, scale) for scale in Q_SCALES for mode in MODES]

    def build(drawn: tuple[tuple[tuple[str, float], int], ...], places: list[int]) -> list[Row]:
        overrides: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        for place in places:
            rest, column = divmod(place, len(free))
            pick, row = divmod(rest, size)
            overrides[row].append((free[column], pick))
        return [
            Row(mode, seed, tuple(changed), scale)
            for ((mode, scale), seed), changed in zip(drawn, overrides, strict=True)
        ]

    row = st.tuples(st.sampled_from(kinds), st.integers(0, 2**20))
    where = st.integers(0, PICKS * size * len(free) - 1) if free else st.nothing()
    changes = st.lists(where, max_size=4) if free else st.just([])
    return st.builds(build, st.tuples(*[row] * size), changes)


def show_state(card: TaskCard, state: np.ndarray) -> str:
    """A state in the card's own names; long states show what differs from each slice's first."""
    if card.state_dim <= 12:
        return ", ".join(f"{card.column_name(i)}={_short(v)}" for i, v in enumerate(state))
    parts = []
    for s, at in card.offsets():
        if s.unused:
            continue
        values = state[at : at + s.size]
        if np.all(values == values[0]):
            parts.append(f"{s.name}[*]={_short(values[0])}")
        elif s.size <= 16:
            parts.append(f"{s.name}=[{', '.join(_short(v) for v in values)}]")
        else:
            shown = ", ".join(_short(v) for v in values[:8])
            parts.append(f"{s.name}=[{shown}, ... {s.size} values]")
    return ", ".join(parts)


def show_qs(qs: np.ndarray) -> str:
    """Agents' Qs as a short text."""
    return "(" + ", ".join(_short(v) for v in qs) + ")"


def _short(v: float) -> str:
    return f"{v + 0.0:.6g}"
