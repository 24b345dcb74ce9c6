"""Thousands of inputs of every kind, for what a look at their values and slopes can tell.

Uniform inputs seldom have columns that are small, alike or at their ends together, which is where
agents have reached what they are after and where differences of like terms cancel.
"""

from __future__ import annotations

import numpy as np

from sandbox.draws import Q_SCALES
from sandbox.reach.domains import Domains

_JITTERS = np.array([0.0, 1e-6, 1e-4, 1e-2])
"""Relative to a column's range: how far values are apart that are to be alike."""


def sweep(domains: Domains, count: int, seed: int) -> np.ndarray:
    """Inputs ``[count, D]`` float64, each allowed by its domain; the first is zero where it can be.

    A fifth each is uniform, near zero (by orders of magnitude, column by column), nearly equal in
    all columns, nearly at the columns' ends, and nearly copied from other columns.
    """
    rng = np.random.default_rng(seed)
    low, high = domains.low, domains.high
    width, columns = high - low, len(low)
    z = low + rng.random((count, columns)) * width
    kinds = np.array_split(np.arange(count), 5)
    small, alike, ends, copied = kinds[1:]
    z[small] *= 10.0 ** -(6 * rng.random((len(small), columns)))
    typical = np.sort(np.maximum(np.abs(low), np.abs(high)))[columns // 2]
    z[alike] = typical * rng.uniform(-1, 1, (len(alike), 1))
    z[ends] = np.where(rng.random((len(ends), columns)) < 0.5, low, high)
    sources = rng.integers(columns, size=(len(copied), columns))
    others = np.take_along_axis(z[copied], sources, 1)
    z[copied] = np.where(rng.random(others.shape) < 0.5, others, z[copied])
    for rows in (alike, ends, copied):
        jitter = rng.choice(_JITTERS, size=(len(rows), 1))
        z[rows] += jitter * width * rng.uniform(-1, 1, (len(rows), columns))
    z[0] = 0.0
    _place_qs(domains, z, rng)
    return _allowed(domains, z, rng)


def _place_qs(domains: Domains, z: np.ndarray, rng: np.random.Generator) -> None:
    """Qs of every scale; where the columns are alike these are, too."""
    first = domains.state_dim
    scale = rng.choice(np.asarray(Q_SCALES), size=(len(z), 1))
    qs = rng.normal(size=(len(z), z.shape[1] - first)) * scale
    near = rng.random(len(z)) < 0.2
    qs[near] = qs[near, :1] * (1 + rng.choice(_JITTERS, size=(int(near.sum()), 1)))
    z[:, first:] = qs


def _allowed(domains: Domains, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    z = np.clip(z, domains.low, domains.high)
    z[:, domains.whole] = np.rint(z[:, domains.whole])
    for column, special in enumerate(domains.sentinels):
        if special:
            where = rng.random(len(z)) < 0.1
            z[where, column] = rng.choice(np.asarray(special), size=int(where.sum()))
    for group in domains.groups:
        z[:, group] = 0.0
        z[np.arange(len(z)), group.start + rng.integers(len(group), size=len(z))] = 1.0
    return z


def whole_qs(domains: Domains, z: np.ndarray, seed: int) -> np.ndarray:
    """The same inputs with Qs just below small whole numbers, where tables and steps turn."""
    rng, first = np.random.default_rng(seed), domains.state_dim
    z = z.copy()
    whole = rng.integers(-4, 9, size=(len(z), z.shape[1] - first)).astype(float)
    z[:, first:] = np.clip(whole - 1e-6, domains.low[first:], domains.high[first:])
    return z
