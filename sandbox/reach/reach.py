"""Inputs on both sides of a graph's edges, alone and in pairs, and where its conditions turn.

What cannot be proved of a function is tested at the places that its own graph names: beside every
comparison, kink, pole and step, where conditions hold that random states never meet, and where the
slopes fall. Work is bounded by counts, so that a verdict does not depend on how busy a machine is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prompts.cards import TaskCard
from sandbox.draws import MODES, Q_SCALES, Row
from sandbox.graph import CreditGraph
from sandbox.inference import Types
from sandbox.reach.domains import Domains, Linear, is_on, solve
from sandbox.reach.edges import edges_of
from sandbox.reach.limits import MOST_LIMITS, Limits
from sandbox.reach.probe import Probe, gradient_of
from sandbox.reach.sweep import sweep, whole_qs
from sandbox.reach.turning import DESCENTS, Turning

BASE_ROWS = 192
MAX_EDGES = 256
"""Elements of edges that are aimed at; of more, these many are drawn."""
NEWTON_STEPS = 8
MAX_SOLVED = 96
"""Edges over whole columns that are solved for."""
PAIRS = 96
MOST_TOGETHER = 12
"""Elements of an edge that are aimed at together."""
MAX_GOALS = 48
DOWNHILL_STEPS = 12
SWEPT = 8_192
"""Inputs of every kind."""
WHOLE_QS = 96
"""Of which so many with Qs beside whole numbers, too."""
MAX_WORK = 3e9
"""Floating-point operations for all of it, roughly; large graphs are aimed at with fewer rows."""
MANY_OPERATIONS = 100
"""Of graphs with more, fewer edges and conditions are solved for one by one: each takes the whole
graph many times on a single row, which costs as much as on a hundred."""
LIMITED = 1_024
"""Inputs found whose states are looked at for limits that leave the Qs little."""
_APART = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 1e-1)
"""How far agents' Qs are apart there."""
_NEAR = (1e-6, 1e-3, 3e-2)
"""How far beside an edge, relative to the size of what turns there."""


@dataclass(frozen=True)
class Reached:
    """Inputs to test a function on, and how much of its edges they cover."""

    agent_qs: Tensor
    """``[R, n_agents]`` float32"""
    states: Tensor
    """``[R, state_dim]`` float32"""
    met: int
    """Edges of which both sides were reached in float32."""
    edges: int
    turned: int
    """Elements of conditions that came out both ways."""
    conditions: int
    swept: tuple[Tensor, Tensor]
    """Qs and states of thousands of inputs of every kind, to be looked at all at once."""


def reach(graph: CreditGraph, types: Types, card: TaskCard, q_bound: float, seed: int) -> Reached:
    """Look for inputs at the edges of a gated graph."""
    return _Reacher(graph, types, card, q_bound, seed).run()


class _Reacher:
    def __init__(
        self, graph: CreditGraph, types: Types, card: TaskCard, q_bound: float, seed: int
    ) -> None:
        self.graph, self.types, self.card, self.bound = graph, types, card, q_bound
        self.probe = Probe(graph, types)
        self.domains = Domains.of(card, q_bound)
        self.free = torch.from_numpy(self.domains.free)
        self._low, self._high = (
            torch.from_numpy(end) for end in (self.domains.low, self.domains.high)
        )
        self.rng = random.Random(seed)
        self.single = min(1.0, MANY_OPERATIONS / max(1, len(graph.operations)))
        self.turning = Turning(graph, types, self.probe, self.domains, self.rng)
        self.turning.descents = round(DESCENTS * self.single)
        some = torch.zeros(1, len(self.domains.low), dtype=torch.float64)
        self.edges = edges_of(graph, types, self.probe.values(some))
        self.found: list[Tensor] = []
        # Every stage takes a share of rows that the graph's own size allows.
        self.scale = min(1.0, MAX_WORK / (types.row_cost * 40_000 + 1))

    def _few(self, count: int) -> int:
        return max(4, round(count * self.scale))

    def _fewer(self, count: int) -> int:
        """As many that are worked on one by one as the number of operations allows, too."""
        return max(2, round(self._few(count) * self.single))

    def run(self) -> Reached:
        base = self._base()
        seed = self.rng.randrange(1 << 30)
        inputs = sweep(self.domains, self._few(SWEPT), seed)
        swept = torch.from_numpy(inputs)
        stepping = whole_qs(self.domains, inputs[: self._few(WHOLE_QS)], seed)
        self.found += [base, self.turning.rare(swept), torch.from_numpy(stepping)]
        if self.edges:
            self._aim(base)
        self.found += self.turning.turn(torch.cat(self.found), self._fewer(MAX_GOALS))
        self._go_downhill(base)
        self._beside_limits()
        z = torch.cat(self.found)
        z = z[torch.isfinite(z).all(1)].float()
        met, of = self._covered(z) if self.edges else (0, 0)
        turned, conditions = self.turning.turned(z)
        qs, states = self.probe.split(z)
        return Reached(qs, states, met, of, turned, conditions, self.probe.split(swept.float()))

    def _base(self) -> Tensor:
        """Ordinary inputs of every kind."""
        rows = []
        for i in range(self._few(BASE_ROWS)):
            mode, scale = MODES[i % len(MODES)], Q_SCALES[i // len(MODES) % len(Q_SCALES)]
            row = Row(mode, self.rng.randrange(1 << 30), (), scale)
            rows.append(np.concatenate([row.state(self.card), row.agent_qs(self.card, self.bound)]))
        return torch.from_numpy(np.stack(rows))

    # ---- edges ---------------------------------------------------------------------------------

    def _aim(self, base: Tensor) -> None:
        with torch.no_grad():
            distance = self.probe.edge_values(self.edges, base).nan_to_num(nan=1e30)
        self.columns = self._chosen(distance)
        if not len(self.columns):
            return
        distance = distance[:, self.columns]
        sizes = distance.abs().clamp(max=1e12).median(0).values.clamp(min=1e-9)
        nearest = distance.abs().argsort(0)[:2]  # [2, E]
        starts = torch.cat([base[nearest[0]], base[nearest[1]]])
        which = torch.arange(len(self.columns)).repeat(2)
        z, gap, gradient = self._newton(starts, which[:, None])
        hit = gap[:, 0].abs() <= 1e-7 * sizes[which]
        self._beside(z[hit], gradient[hit][:, 0], sizes[which[hit]])
        missed = [int(e) for e in range(len(self.columns)) if not bool(hit[which == e].any())]
        self._solve(missed, base[nearest[0]], sizes)
        self._pairs(z, which, hit, sizes)
        self._together(base, sizes)

    def _chosen(self, distance: Tensor) -> Tensor:
        """Elements of edges that move with the inputs, a bounded number of them."""
        moving = ((distance - distance[0]).abs() > 0).any(0).nonzero()[:, 0].tolist()
        most = self._few(MAX_EDGES)
        if len(moving) > most:
            moving = sorted(self.rng.sample(moving, most))
        return torch.tensor(moving, dtype=torch.int64)

    def _gaps(self, z: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Distances ``[N, k]`` of inputs from k edges each, with gradients ``[N, k, D]``."""
        leaf = z.clone().requires_grad_()
        parts = self.probe.edge_parts(self.edges, leaf)
        chosen = torch.cat(parts, 1)[:, self.columns].gather(1, which)
        gradients = []
        for k in range(which.shape[1]):
            found = gradient_of(chosen[:, k].sum(), leaf)
            broken = found.isnan().any(1)
            if bool(broken.any()):
                found = torch.where(broken[:, None], self._apart(parts, which[:, k], leaf), found)
            gradients.append(found.nan_to_num(0.0, 0.0, 0.0))
        gap = chosen.detach().nan_to_num(nan=1e30, posinf=1e30, neginf=-1e30)
        return gap, torch.stack(gradients, 1)

    def _apart(self, parts: list[Tensor], which: Tensor, leaf: Tensor) -> Tensor:
        """Gradients of one edge for each input, by themselves.

        Beside another edge's NaN, such as the root of a negative, a gradient is NaN, too.
        """
        out = torch.zeros_like(leaf)
        wanted, first = self.columns[which], 0
        for part in parts:
            own = (wanted >= first) & (wanted < first + part.shape[1])
            if bool(own.any()):
                at = (wanted - first).clamp(0, part.shape[1] - 1)[:, None]
                out[own] = gradient_of(part.gather(1, at)[own].sum(), leaf)[own]
            first += part.shape[1]
        return out

    def _newton(self, z: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move continuous inputs onto their edges: shortest steps to where all gaps are zero."""
        for _ in range(NEWTON_STEPS):
            gap, gradient = self._gaps(z, which)
            slope = gradient * self.free
            gram = slope @ slope.transpose(1, 2)  # [N, k, k]
            eye = torch.eye(which.shape[1], dtype=z.dtype)
            gram = (
                gram + eye * (1e-12 * gram.diagonal(dim1=1, dim2=2).amax(1) + 1e-30)[:, None, None]
            )
            step = (slope.transpose(1, 2) @ torch.linalg.solve(gram, gap[:, :, None]))[:, :, 0]
            z = self.domains.nearest(z - step.nan_to_num(0.0, 0.0, 0.0))
        gap, gradient = self._gaps(z, which)
        return z, gap, gradient

    def _beside(self, z: Tensor, gradient: Tensor, sizes: Tensor) -> None:
        """Keep inputs at an edge, and on both sides of it at several distances."""
        if not len(z):
            return
        self.found.append(z)
        slope = gradient * self.free
        norm = slope.square().sum(1, keepdim=True).clamp(min=1e-30)
        for near in _NEAR:
            step = slope * (near * sizes[:, None] / norm)
            self.found += [self.domains.nearest(z + step), self.domains.nearest(z - step)]

    def _solve(self, missed: list[int], starts: Tensor, sizes: Tensor) -> None:
        """Reach edges over whole columns by solving for the columns."""
        some = missed if len(missed) <= MAX_SOLVED else self.rng.sample(missed, MAX_SOLVED)
        for e in some[: self._fewer(MAX_SOLVED)]:
            z = starts[e : e + 1]
            which = torch.tensor([[e]])
            for side in ("at", "above", "below"):
                made = self._solved_for(z, [(which, side)], float(sizes[e]))
                if made is not None:
                    self.found.append(made)

    def _solved_for(
        self, z: Tensor, wanted: list[tuple[Tensor, str]], size: float
    ) -> Tensor | None:
        """Inputs that are at, just above or just below edges; linearised anew after each step."""
        for _ in range(3):
            conditions = []
            for which, side in wanted:
                gap, gradient = self._gaps(z, which)
                slope = gradient[0, 0].numpy()
                conditions.append(Linear.near(float(gap[0, 0]), slope, z[0].numpy(), side, size))
            made = solve(self.domains, conditions, z[0].numpy(), self.rng)
            if made is None:
                return None
            z = torch.from_numpy(made)[None]
            if all(is_on(side, float(self._gaps(z, w)[0][0, 0]), size) for w, side in wanted):
                return z
        return z

    def _pairs(self, z: Tensor, which: Tensor, hit: Tensor, sizes: Tensor) -> None:
        """Inputs where two edges meet, and in the four corners around them."""
        placed = hit.nonzero()[:, 0].tolist()
        count = len(self.columns)
        if not placed or count < 2:
            return
        starts, both = [], []
        for _ in range(self._few(PAIRS)):
            at = self.rng.choice(placed)
            first, second = int(which[at]), self.rng.randrange(count)
            if first != second:
                starts.append(z[at])
                both.append([first, second])
        if not starts:
            return
        pair = torch.tensor(both)
        z, gap, gradient = self._newton(torch.stack(starts), pair)
        size = sizes[pair]
        good = (gap.abs() <= 1e-6 * size).all(1)
        z, gradient, size = z[good], gradient[good] * self.free, size[good]
        if not len(z):
            return
        self.found.append(z)
        gram = gradient @ gradient.transpose(1, 2)
        gram = (
            gram
            + torch.eye(2, dtype=z.dtype)
            * 1e-12
            * gram.diagonal(dim1=1, dim2=2).amax(1).clamp(min=1e-18)[:, None, None]
        )
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            aim = 1e-3 * size * torch.tensor([a, b], dtype=z.dtype)
            step = (gradient.transpose(1, 2) @ torch.linalg.solve(gram, aim[:, :, None]))[:, :, 0]
            self.found.append(self.domains.nearest(z + step.nan_to_num(0.0, 0.0, 0.0)))

    def _together(self, base: Tensor, sizes: Tensor) -> None:
        """Inputs where all elements of one edge meet, such as every agent's Q at a value."""
        first = 0
        places = {int(c): k for k, c in enumerate(self.columns)}
        for edge in self.edges:
            width = edge.of.elements
            own = [places[c] for c in range(first, first + width) if c in places]
            first += width
            if not 1 < len(own) <= MOST_TOGETHER:
                continue
            which = torch.tensor([own]).expand(2, -1)
            z, gap, gradient = self._newton(base[:2], which)
            if bool((gap.abs() <= 1e-6 * sizes[own]).all(1).any()):
                self._beside(z, gradient.sum(1), sizes[own].amax().expand(len(z)))

    def _covered(self, z: Tensor) -> tuple[int, int]:
        """How many of the edges were seen from both sides, in float32."""
        with torch.no_grad():
            gaps = torch.cat(
                [self.probe.edge_values(self.edges, part)[:, self.columns] for part in z.split(512)]
            )
        above, below = (gaps > 0).any(0), (gaps < 0).any(0)
        at = (gaps == 0).any(0)
        both = (above & below) | (at & (above | below))
        return int(both.sum()), len(self.columns)

    def _beside_limits(self) -> None:
        """Inputs where a limit leaves the Qs little, each several times, with Qs a little apart."""
        found = torch.cat(self.found)
        found = found[torch.isfinite(found).all(1)]
        some = self.rng.sample(range(len(found)), min(len(found), self._few(LIMITED)))
        limits = Limits(self.probe, self.edges, self.domains, self.bound)
        z = limits.near(found[some], self._fewer(MOST_LIMITS))
        draw = torch.Generator().manual_seed(self.rng.randrange(1 << 30))
        for apart in _APART:
            qs = torch.randn(len(z), self.graph.n_agents, generator=draw, dtype=z.dtype) * apart
            jittered = torch.cat(
                [z[:, : self.graph.state_dim], z[:, self.graph.state_dim :] + qs], 1
            )
            self.found.append(self.domains.nearest(jittered))

    # ---- slopes --------------------------------------------------------------------------------

    def _go_downhill(self, base: Tensor) -> None:
        """Follow the smallest slope of q_tot downhill, by the sign of its own gradient."""
        z = base[: self._few(64)].clone()
        width = torch.from_numpy(
            np.where(self.domains.free, self.domains.high - self.domains.low, 0)
        )
        for k in range(DOWNHILL_STEPS):
            way = self._downhill(z)
            if way is None or not bool((way != 0).any()):
                return
            if k == 0:  # where the smallest slope is linear, it is least in this corner
                corner = torch.where(way > 0, self._low, torch.where(way < 0, self._high, z))
                self.found.append(self.domains.nearest(torch.where(self.free > 0, corner, z)))
            step = 0.1 * 0.6**k
            z = self.domains.nearest(z - way.nan_to_num(0.0, 0.0, 0.0).sign() * width * step)
            self.found.append(z)

    def _downhill(self, z: Tensor) -> Tensor | None:
        """The gradient of each input's smallest slope of q_tot; None where there is none."""
        leaf = z.clone().requires_grad_()
        q_tot = self.probe.function(*self.probe.split(leaf))
        try:
            (slopes,) = torch.autograd.grad(q_tot.sum(), leaf, create_graph=True)
            least = slopes[:, self.graph.state_dim :].amin(1).sum()
            return torch.autograd.grad(least, leaf, allow_unused=True)[0]
        except RuntimeError:  # a slope that does not change, or torch has no derivative for it
            return None
