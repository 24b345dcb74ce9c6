"""Inputs where a limit leaves the Qs little: in such a state rounding shows, or a fall hides.

An edge that the Qs cross (a cap, a hinge, a floor) may lie anywhere between the least Qs and the
greatest. States are moved so that it lies just beside an end, and Qs are put where q_tot still
moves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sandbox.reach.domains import Domains
from sandbox.reach.edges import Edge
from sandbox.reach.probe import Probe, gradient_of

MOST_LIMITS = 8
"""Elements of edges that are moved to either end."""
LEAST_STATES = 16
"""States beside these, in which the Qs do least of those found."""
_STEPS = 8
_BESIDE = 4e-3
"""Where an edge is put, as a share of the way that the Qs go."""
_LEVELS = (0.02, 0.15, 0.4, 0.6, 0.85, 0.98)
"""Of what is left of q_tot, where Qs are put."""
_HALVINGS = 24


class Limits:
    """Looks for states whose limits leave the Qs little, and for Qs within what is left.

    Args:
        probe: of the graph.
        edges: of the graph.
        domains: of its inputs.
        bound: how large Qs may be.
    """

    def __init__(self, probe: Probe, edges: list[Edge], domains: Domains, bound: float) -> None:
        self.probe, self.edges, self.domains, self.bound = probe, edges, domains, bound
        self.first, self.count = domains.state_dim, probe.graph.n_agents

    def near(self, z: Tensor, most: int = MOST_LIMITS) -> Tensor:
        """Inputs ``[N, D]`` float64 near limits, from states like those of ``z`` ``[M, D]``.

        Args:
            z: inputs to begin with.
            most: elements of edges that are moved.
        """
        states = torch.cat([z, *self._moved(z, most)]) if self.edges else z
        low, high = (self._q_tot(self._with(states, end)) for end in (-1.0, 1.0))
        left = (high - low).abs()
        size = torch.maximum(low.abs(), high.abs())
        left = torch.where(torch.isfinite(left) & (left > 1e-12 * size), left, torch.inf)
        orders = [left.argsort(), (left / (size + 1e-30)).nan_to_num(nan=torch.inf).argsort()]
        chosen = torch.cat([order[: LEAST_STATES // 2] for order in orders]).unique()
        chosen = chosen[left[chosen] < torch.inf]
        added = torch.arange(len(z), len(states))
        return self._within(states[torch.cat([chosen, added]).unique()])

    def _with(self, z: Tensor, share: float | Tensor) -> Tensor:
        """The same inputs with all Qs at a share of their bound."""
        qs = torch.as_tensor(share, dtype=z.dtype).reshape(-1, 1) * self.bound
        return torch.cat([z[:, : self.first], qs.expand(len(z), self.count)], 1)

    def _q_tot(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            return self.probe.function(*self.probe.split(z))[:, 0]

    def _gaps(self, z: Tensor) -> Tensor:
        return self.probe.edge_values(self.edges, z).nan_to_num(1e30, 1e30, -1e30)

    def _moved(self, z: Tensor, most: int) -> list[Tensor]:
        """States at which edges that the Qs cross lie just beside an end of the Qs' range."""
        with torch.no_grad():
            ends = [self._gaps(self._with(z, end)) for end in (-1.0, 1.0)]
        crossed = ((ends[0] < 0) != (ends[1] < 0)).any(0) & ((ends[0] - ends[1]).abs() > 0).all(0)
        made = []
        for edge in crossed.nonzero()[:most, 0].tolist():
            for end in (-1.0, 1.0):
                at = ends[0 if end < 0 else 1][:, edge]
                start = (at / (ends[1] - ends[0])[:, edge]).abs().argmin()
                made.append(self._descended(z[start][None], edge, end))
        return made

    def _descended(self, z: Tensor, edge: int, end: float) -> Tensor:
        """A state at which an edge is beside one end, by Newton's steps and column by column."""
        beside = self._with(z, end * (1 - 2 * _BESIDE))[:, self.first :]
        z = torch.cat([z[:, : self.first], beside], 1)
        free = torch.from_numpy(self.domains.free).clone()
        free[self.first :] = False
        for _ in range(_STEPS):
            leaf = z.clone().requires_grad_()
            gap = self._gaps(leaf)[:, edge]
            slope = gradient_of(gap.sum(), leaf).nan_to_num(0.0, 0.0, 0.0) * free
            gap = gap.detach()
            norm = slope.square().sum(1, keepdim=True)
            tried = self.domains.nearest(z - slope * (gap[:, None] / norm.clamp(min=1e-30)))
            tried = torch.cat([z, tried, *self._neighbours(z)])
            with torch.no_grad():
                amiss = self._gaps(tried)[:, edge].abs()
            best = int(amiss.argmin())
            if best == 0:
                break
            z = tried[best : best + 1]
        return z

    def _neighbours(self, z: Tensor) -> list[Tensor]:
        """States that differ from one in a whole column."""
        rows = []
        for column in self.domains.whole[: self.first].nonzero()[0].tolist():
            low, high = self.domains.hull(column)
            for value in self.domains.values(column, low, min(high, low + 16)):
                changed = z.clone()
                changed[0, column] = value
                rows.append(changed)
        return rows

    def _within(self, states: Tensor) -> Tensor:
        """Each state with Qs at several levels of what q_tot still moves."""
        if not len(states):
            return states
        z = states.repeat_interleave(len(_LEVELS), 0)
        level = torch.tensor(_LEVELS, dtype=z.dtype).repeat(len(states))
        least, most = (self._q_tot(self._with(z, end)) for end in (-1.0, 1.0))
        wanted = torch.lerp(least, most, level)
        low, high = torch.full_like(wanted, -1.0), torch.full_like(wanted, 1.0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self._q_tot(self._with(z, middle)) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return self._with(z, (low + high) / 2)
