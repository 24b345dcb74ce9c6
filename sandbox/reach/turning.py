"""Inputs that turn the conditions of a graph which random inputs leave one way."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from sandbox.graph import CreditGraph, Ref
from sandbox.inference import Types
from sandbox.reach.domains import Domains, Linear, is_on, solve
from sandbox.reach.goals import Element, Goals, Way
from sandbox.reach.probe import Probe

DESCENTS = 24
"""Conjunctions that are searched for column by column."""
_DESCENT_STEPS = 24
_LINEARISED = 4
"""Times that a conjunction is linearised anew at what solved it before."""


class Turning:
    """Looks for inputs ``[1, D]`` at which conditions come out the other way."""

    def __init__(
        self, graph: CreditGraph, types: Types, probe: Probe, domains: Domains, rng: random.Random
    ) -> None:
        self.graph, self.types, self.probe = graph, types, probe
        self.domains, self.rng = domains, rng
        self.descents = DESCENTS

    def turned(self, z: Tensor) -> tuple[int, int]:
        """Elements of conditions that come out both ways among inputs; and how many there are."""
        seen = [v for ref, v in self._truths(z).items() if self.types.of(ref).dtype == "bool"]
        both = sum(int((yes & no).sum()) for yes, no in seen)
        return both, sum(len(yes) for yes, _ in seen)

    def turn(self, found: Tensor, goals: int) -> list[Tensor]:
        """New inputs, each for a condition that came out one way among those found.

        Args:
            found: inputs ``[N, D]``.
            goals: conditions that are tried for, at most.
        """
        seen = self._truths(found.float())
        aims = Goals(self.graph, self.types, set(seen))
        made: list[Tensor] = []
        for ref, (yes, no) in seen.items():
            for place in (~(yes & no)).nonzero()[:, 0].tolist():
                if goals <= 0:
                    return made
                goals -= 1
                truth = bool(no[place])
                z = self._first(aims.ways((ref, place), truth), found, (ref, place), truth)
                if z is not None:
                    made.append(z)
        return made

    def rare(self, z: Tensor) -> Tensor:
        """Of many inputs ``[N, D]``, those at which an element of a condition is as it seldom is.

        One for each element that is one way in less than a fiftieth of them.
        """
        sides: list[Tensor] = []
        for part in z.split(512):
            with torch.no_grad():
                values = self.probe.values(part)
            conditions = [
                self.probe.scalars(values, Ref(number), len(part)) != 0
                for number in range(self.graph.first_operation, len(values))
                if self.types.values[number][0].dtype == "bool"
                and self.types.values[number][0].axis is not None
            ]
            if not conditions:
                return z[:0]
            sides.append(torch.cat(conditions, 1))
        yes = torch.cat(sides)  # [N, elements]
        often = yes.sum(0) > len(z) / 2
        seldom = yes ^ often
        count = seldom.sum(0)
        few = (count > 0) & (count < len(z) / 50)
        return z[seldom[:, few].to(torch.uint8).argmax(0).unique()]

    def _truths(self, z: Tensor) -> dict[Ref, tuple[Tensor, Tensor]]:
        """Of every condition and indicator: which elements were seen non-zero, and which zero."""
        seen: dict[Ref, tuple[Tensor, Tensor]] = {}
        others: set[Ref] = set()
        for part in z.split(512):
            with torch.no_grad():
                values = self.probe.values(part)
            for number in range(self.graph.first_operation, len(values)):
                ref = Ref(number)
                of = self.types.values[number][0]
                if of.axis is None or ref in others:
                    continue
                x = self.probe.scalars(values, ref, len(part))
                if of.dtype != "bool" and not bool(((x == 0) | (x == 1)).all()):
                    others.add(ref)
                    seen.pop(ref, None)
                    continue
                yes, no = (x != 0).any(0), (x == 0).any(0)
                if ref in seen:
                    yes, no = yes | seen[ref][0], no | seen[ref][1]
                seen[ref] = yes, no
        return seen

    def _first(
        self, ways: list[Way], found: Tensor, element: Element, truth: bool
    ) -> Tensor | None:
        """The first input found by any of the ways at which the condition does come out so."""
        for way in ways:
            z = self._solved(way, found)
            if z is not None and self._is_so(z, element, truth):
                return z
        for way in ways:
            if self.descents <= 0:
                return None
            self.descents -= 1
            z = self._descended(way, found)
            if z is not None and self._is_so(z, element, truth):
                return z
        return None

    def _is_so(self, z: Tensor, element: Element, truth: bool) -> bool:
        ref, place = element
        with torch.no_grad():
            values = self.probe.values(z)
        return bool(self.probe.scalars(values, ref, len(z))[0, place] != 0) is truth

    def _solved(self, way: Way, found: Tensor) -> Tensor | None:
        """An input that satisfies a conjunction, by linearising it again and again."""
        z = found[self.rng.randrange(len(found))][None]
        for _ in range(_LINEARISED):
            gaps, gradients = self.probe.linearised(lambda values: self._read(values, way), z)
            if all(is_on(a.wanted, g, 1.0) for a, g in zip(way, gaps, strict=True)):
                return z
            conditions = [
                Linear.near(float(g), slope, z[0].numpy(), a.wanted, 1.0)
                for a, g, slope in zip(way, gaps, gradients, strict=True)
            ]
            made = solve(self.domains, conditions, z[0].numpy(), self.rng)
            if made is None:
                return None
            z = torch.from_numpy(made)[None]
        return None

    def _descended(self, way: Way, found: Tensor) -> Tensor | None:
        """The same, by changing the column that helps most, over and over.

        Distances between places bend, and have no slope where two are at the same place; but each
        column has few values.
        """
        wanted = [atom.wanted for atom in way]
        gaps = self._gaps(way, found)
        size = gaps.abs().nan_to_num(posinf=0.0).median(0).values.clamp(min=1e-3)
        amiss = _amiss(gaps, wanted, size)
        z, least = found[amiss.argmin()], float(amiss.min())
        for _ in range(_DESCENT_STEPS):
            if least == 0:
                return z[None]
            tried = self._neighbours(z)
            amiss = _amiss(self._gaps(way, tried), wanted, size)
            best = int(amiss.argmin())
            if float(amiss[best]) >= least:
                return None
            z, least = tried[best], float(amiss[best])
        return None

    def _neighbours(self, z: Tensor) -> Tensor:
        """Inputs that differ from one in one column."""
        rows = []
        for column in range(len(z)):
            for value in self._values(column, float(z[column])):
                changed = z.clone()
                changed[column] = value
                rows.append(changed)
        return torch.stack(rows)

    def _values(self, column: int, now: float) -> list[float]:
        low, high = float(self.domains.low[column]), float(self.domains.high[column])
        if self.domains.whole[column]:
            values = self.domains.values(column, low, high)
            return self.rng.sample(values, 12) if len(values) > 12 else values
        width = high - low
        moved = [now + sign * width * 0.25**k for k in range(1, 9, 2) for sign in (-1, 1)]
        return [min(max(x, low), high) for x in moved]

    def _gaps(self, way: Way, z: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self._read(self.probe.values(p), way) for p in z.split(512)])

    def _read(self, values: list[object], way: Way) -> Tensor:
        """left - right of every atom, ``[N, atoms]``."""
        rows = len(values[0])  # type: ignore[arg-type]

        def one(side: Element | float) -> Tensor:
            if not isinstance(side, tuple):
                return torch.full((rows,), float(side), dtype=torch.float64)
            return self.probe.scalars(values, side[0], rows)[:, side[1]]

        return torch.stack([one(a.left) - one(a.right) for a in way], 1)


def _amiss(gaps: Tensor, wanted: list[str], size: Tensor) -> Tensor:
    """How far inputs are from satisfying a conjunction, ``[N]``; zero where they do."""
    missing = torch.zeros_like(gaps)
    for k, side in enumerate(wanted):
        gap = gaps[:, k]
        if side == "at":
            missing[:, k] = torch.where(gap.abs() <= 1e-9, 0.0, gap.abs())
        else:
            gap = gap if side == "above" else -gap
            missing[:, k] = torch.where(gap > 0, 0.0, 1e-6 - gap)
    return (missing / size).nan_to_num(nan=1e30, posinf=1e30).sum(1)
