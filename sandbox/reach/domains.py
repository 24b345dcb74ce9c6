"""What the inputs of a credit function may be, and a small solver of linear conditions over them.

An input is a vector z: the state's columns, then the agents' Qs. Integer columns take whole numbers
and sentinels, real ones an interval and sentinels; of a one-hot group at most one column is 1.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prompts.cards import TaskCard

_MOST_VALUES = 12
"""Values of one column that are tried before the search turns back."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Domains:
    """The allowed values of every input; arrays are ``[D]``."""

    low: np.ndarray
    high: np.ndarray
    """Ends of the ordinary range."""
    whole: np.ndarray
    sentinels: tuple[tuple[float, ...], ...]
    groups: tuple[range, ...]
    """One-hot groups of columns."""
    state_dim: int

    @classmethod
    def of(cls, card: TaskCard, q_bound: float) -> Domains:
        """The inputs of a task's functions."""
        low, high, whole, sentinels, groups = [], [], [], [], []
        for s, at in card.offsets():
            ends = (0.0, 0.0) if s.unused else (s.low, s.high)
            if s.kind in ("boolean", "onehot") and not s.unused:
                ends = (0.0, 1.0)
            low += [ends[0]] * s.size
            high += [ends[1]] * s.size
            whole += [s.kind != "real"] * s.size
            sentinels += [() if s.unused else s.sentinels] * s.size
            if s.kind == "onehot" and not s.unused:
                width = s.shape[-1]
                groups += [range(k, k + width) for k in range(at, at + s.size, width)]
        n = card.n_agents
        return cls(
            np.array([*low, *[-q_bound] * n]),
            np.array([*high, *[q_bound] * n]),
            np.array([*whole, *[False] * n]),
            (*sentinels, *((),) * n),
            tuple(groups),
            card.state_dim,
        )

    @property
    def free(self) -> np.ndarray:
        """Inputs that vary continuously, bool ``[D]``."""
        return ~self.whole & (self.high > self.low)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest allowed values of continuous inputs; others are left. ``[N, D]`` float64."""
        low, high = torch.from_numpy(self.low), torch.from_numpy(self.high)
        inside = torch.minimum(torch.maximum(z, low), high)
        return torch.where(torch.from_numpy(self.free), inside, z)

    def values(self, j: int, low: float, high: float) -> list[float]:
        """Allowed whole values of an input between two ends, smallest first."""
        first, last = math.ceil(max(low, self.low[j])), math.floor(min(high, self.high[j]))
        if last - first > 10_000:
            first, last = first, first + 10_000
        ordinary = [float(v) for v in range(first, last + 1)]
        return ordinary + [s for s in self.sentinels[j] if low <= s <= high and s not in ordinary]

    def hull(self, j: int) -> tuple[float, float]:
        """Smallest and largest allowed value of an input."""
        special = self.sentinels[j]
        return min((self.low[j], *special)), max((self.high[j], *special))


@dataclass(frozen=True)
class Linear:
    """The condition low <= sum of a_j z_j <= high."""

    coefficients: dict[int, float]
    low: float
    high: float

    @classmethod
    def near(cls, gap: float, slope: np.ndarray, z: np.ndarray, side: str, size: float) -> Linear:
        """gap + slope . (x - z) at zero, just above it, or just below it, as a condition on x.

        Args:
            gap: of a quantity from zero, at ``z``.
            slope: its gradient there, ``[D]``.
            z: an input ``[D]``.
            side: ``at``, ``above`` or ``below``.
            size: of such gaps.
        """
        coefficients = {int(j): float(slope[j]) for j in np.flatnonzero(slope)}
        offset = gap - float(slope @ z)
        least = 1e-6 * size
        low, high = {
            "at": (0.0, 0.0),
            "above": (least, np.inf),
            "below": (-np.inf, -least),
        }[side]
        return cls(coefficients, low - offset, high - offset)


def is_on(side: str, gap: float, size: float) -> bool:
    """Whether a gap is on the side of zero that was wanted."""
    return {"at": abs(gap) <= 1e-9 * size, "above": gap > 0, "below": gap < 0}[side]


class _Search:
    """Depth first, with bounds narrowed after every choice (bounds consistency)."""

    def __init__(
        self, domains: Domains, conditions: list[Linear], base: np.ndarray, rng: random.Random,
        budget: int,
    ) -> None:  # fmt: skip
        self.domains, self.base, self.rng, self.left = domains, base, rng, budget
        involved = {j for c in conditions for j in c.coefficients}
        groups = [g for g in domains.groups if involved & set(g)]
        self.conditions = [*conditions, *(Linear(dict.fromkeys(g, 1.0), 0, 1) for g in groups)]
        self.inputs = sorted(involved | {j for g in groups for j in g})

    def run(self) -> dict[int, float] | None:
        """Values of the inputs that the conditions are about."""
        hulls = {j: self.domains.hull(j) for j in self.inputs}
        return self._go({j: h[0] for j, h in hulls.items()}, {j: h[1] for j, h in hulls.items()})

    def _go(self, low: dict[int, float], high: dict[int, float]) -> dict[int, float] | None:
        self.left -= 1
        if self.left < 0 or not self._narrow(low, high):
            return None
        still = [j for j in self.inputs if high[j] - low[j] > _ROUNDING * (1 + abs(high[j]))]
        if not still:
            return dict(low)
        whole = [j for j in still if self.domains.whole[j]]
        j = min(whole, key=lambda j: high[j] - low[j]) if whole else self.rng.choice(still)
        for value in self._choices(j, low[j], high[j]):
            found = self._go({**low, j: value}, {**high, j: value})
            if found is not None or self.left < 0:
                return found
        return None

    def _choices(self, j: int, low: float, high: float) -> list[float]:
        base = float(self.base[j])
        if not self.domains.whole[j]:
            near = min(max(base, low), high)
            return [near, (low + high) / 2, self.rng.uniform(low, high), low, high]
        values = self.domains.values(j, low, high)
        self.rng.shuffle(values)
        values.sort(key=lambda v: v != base)
        return values[:_MOST_VALUES]

    def _narrow(self, low: dict[int, float], high: dict[int, float]) -> bool:
        for _ in range(6):
            changed = False
            for c in self.conditions:
                ends = {j: sorted((a * low[j], a * high[j])) for j, a in c.coefficients.items()}
                least, most = sum(e[0] for e in ends.values()), sum(e[1] for e in ends.values())
                room = _ROUNDING * (1 + abs(least) + abs(most))
                if least > c.high + room or most < c.low - room:
                    return False
                for j, a in c.coefficients.items():
                    if not a:
                        continue
                    bounds = sorted(
                        ((c.low - most + ends[j][1]) / a, (c.high - least + ends[j][0]) / a)
                    )
                    changed |= self._tighten(j, bounds[0], bounds[1], low, high)
                    if low[j] > high[j] + _ROUNDING * (1 + abs(high[j])):
                        return False
            if not changed:
                break
        return True

    def _tighten(
        self, j: int, least: float, most: float, low: dict[int, float], high: dict[int, float]
    ) -> bool:
        if self.domains.whole[j]:
            least = math.ceil(least - 1e-6) if math.isfinite(least) else least
            most = math.floor(most + 1e-6) if math.isfinite(most) else most
        moved = False
        if least > low[j] + _ROUNDING:
            low[j], moved = min(least, high[j]) if least - high[j] < 1e-6 else least, True
        if most < high[j] - _ROUNDING:
            high[j], moved = max(most, low[j]) if low[j] - most < 1e-6 else most, True
        return moved


def solve(
    domains: Domains, conditions: list[Linear], base: np.ndarray, rng: random.Random,
    budget: int = 400,
) -> np.ndarray | None:  # fmt: skip
    """Inputs ``[D]`` that satisfy all conditions, as much like ``base`` as they happen to be.

    Returns:
        None where there are none, or none was found within ``budget`` steps.
    """
    found = _Search(domains, conditions, base, rng, budget).run()
    if found is None:
        return None
    made = base.copy()
    for j, value in found.items():
        made[j] = value
    return made
