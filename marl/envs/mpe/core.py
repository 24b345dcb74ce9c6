"""The physics of the particle environments: discs that push themselves and each other.

Source: Lowe et al. (2017), "Multi-agent actor-critic for mixed cooperative-competitive
environments"; order and numbers of a step as in mpe2 1.1.1:

1. Every body is moved by the velocity that it *had*, so that a push shows one step later.
2. Of that velocity a quarter is lost, and what pushed during the step is added: the body's own
   push, and contacts, both by the places *before* the move. Masses are 1.
3. Where a body has a greatest speed, its velocity is cut to it.

Two discs whose centres are d apart and whose radii add up to r push each other apart along the
line between them, by 100 k log(1 + exp((r - d) / k)) with k = 0.001: nothing to speak of while they
are apart, 100 (r - d) where they overlap.

One row of numbers describes an instance (`Layout`), and *relations*, the differences of two
places, are computed once after each move: rewards, observations and the next step's contacts all
read them. That, and rows in which all x stand before all y, makes a step few and cheap operations.

Known differences from mpe2:

- Observations are of the environment's number type; mpe2 computes in float64 and shows float32.
- Two bodies at exactly the same place do not push each other; there mpe2 divides zero by zero.
- Sums may be taken in another order, so that numbers agree to rounding, not to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STEP = 0.1
"""Duration of a step, in time units."""
KEPT = 0.75
"""What is left of a velocity after a step."""
STIFFNESS = 100.0
"""Force per unit of overlap."""
SHARPNESS = 1000.0
"""1 / k: how abruptly contact begins."""
DIRECTIONS = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""(x, y) of the actions: none, left, right, down, up."""

_EXACT = 40.0  # log(1 + exp(z)) is z in float64 from here on
_TINY = 1e-30  # divides instead of a distance of zero


@dataclass(frozen=True)
class Layout:
    """Where things stand in an instance's row, for m bodies and k fixed places.

    A row is ``[vx * m, vy * m, px * m, py * m, fx * k, fy * k, 0]``: velocities and places of the
    bodies, the fixed places, and a zero for columns that always show zero. Relations follow, all x
    before all y: first of every body to every fixed place, then to every *other* body. Together
    they are what observations are picked from.
    """

    bodies: int
    places: int

    @property
    def width(self) -> int:
        """Columns of the row, relations not counted."""
        return 4 * self.bodies + 2 * self.places + 1

    @property
    def relations(self) -> int:
        """Pairs (body, fixed place) and ordered pairs (body, other body)."""
        return self.bodies * (self.places + self.bodies - 1)

    @property
    def zero(self) -> tuple[int]:
        """The column that is always zero."""
        return (self.width - 1,)

    def velocity(self, body: int) -> tuple[int, int]:
        """Columns (x, y) of a body's velocity."""
        return body, self.bodies + body

    def position(self, body: int) -> tuple[int, int]:
        """Columns (x, y) of a body's place."""
        return 2 * self.bodies + body, 3 * self.bodies + body

    def place(self, index: int) -> tuple[int, int]:
        """Columns (x, y) of a fixed place."""
        first = 4 * self.bodies
        return first + index, first + self.places + index

    def to_place(self, body: int, index: int) -> tuple[int, int]:
        """Columns (x, y) of a fixed place minus a body's place."""
        column = self.width + body * self.places + index
        return column, column + self.relations

    def to_body(self, body: int, other: int) -> tuple[int, int]:
        """Columns (x, y) of another body's place minus a body's place."""
        rank = other - (other > body)
        column = self.width + self.bodies * self.places + body * (self.bodies - 1) + rank
        return column, column + self.relations

    def pairs(self) -> tuple[list[int], list[int]]:
        """Of each relation's x, then of each one's y, the columns of the thing and of the body."""
        things, bodies = [], []
        for axis in (0, 1):
            for body in range(self.bodies):
                for index in range(self.places):
                    things.append(self.place(index)[axis])
                    bodies.append(self.position(body)[axis])
            for body in range(self.bodies):
                for other in range(self.bodies):
                    if other != body:
                        things.append(self.position(other)[axis])
                        bodies.append(self.position(body)[axis])
        return things, bodies


@dataclass(frozen=True)
class Seen:
    """An instance's row and the relations that follow from it."""

    columns: Tensor
    """``[B, width + 2 relations]``, as `Layout` says."""
    apart: Tensor
    """``[B, relations]``: distances, never below a tiny positive number."""


class Physics:
    """Moves bodies; it holds constants only, and what moves stands in the rows.

    Args:
        layout: bodies and fixed places.
        sizes: radius of each body; None where nobody is in anybody's way.
        place_size: radius of the fixed places where they are obstacles, else None.
        pushes: force of each body's own push.
        top_speeds: greatest speed of each body; None for no limit.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        sizes: Sequence[float] | None,
        place_size: float | None,
        pushes: Sequence[float],
        top_speeds: Sequence[float] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        def constant(values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
            return torch.tensor(values, device=device, dtype=dtype)

        m, k = layout.bodies, layout.places
        self.layout = layout
        things, bodies = (torch.tensor(columns, device=device) for columns in layout.pairs())
        self._things, self._bodies = things, bodies
        # A push adds to the velocity by its force times the duration: rows of (body, action).
        gain = constant(pushes)[:, None, None] * STEP
        self._pushes = (constant(DIRECTIONS) * gain).flatten(0, 1)
        self._rows = torch.arange(m, device=device) * len(DIRECTIONS)
        self._top = None if top_speeds is None else constant(top_speeds)
        # Contacts are among the last relations, or among all where places are obstacles too.
        self._first = 0 if place_size is not None else m * k
        self._reach: Tensor | None = None
        if sizes is not None:
            places = [] if place_size is None else [s + place_size for s in sizes for _ in range(k)]
            others = [sizes[i] + sizes[j] for i in range(m) for j in range(m) if j != i]
            self._reach = constant([*places, *others])

    def row(self, velocity: Tensor, position: Tensor, places: Tensor) -> Tensor:
        """The rows ``[B, width]`` of velocities and places ``[B, m, 2]``, fixed ``[B, k, 2]``."""
        parts = [x.mT.flatten(1) for x in (velocity, position, places)]
        return torch.cat([*parts, torch.zeros_like(parts[0][:, :1])], 1)

    def look(self, row: Tensor) -> Seen:
        """Relations of all bodies in rows ``[B, width]``."""
        between = row.index_select(1, self._things) - row.index_select(1, self._bodies)
        squares = between.square()
        count = self.layout.relations
        apart = (squares[:, :count] + squares[:, count:]).sqrt_().clamp_min_(_TINY)
        return Seen(torch.cat([row, between], 1), apart)

    def _contacts(self, seen: Seen) -> Tensor:
        """What contacts add to velocities: ``[B, 2, m]``."""
        m, relations = self.layout.bodies, self.layout.relations
        apart = seen.apart[:, self._first :]
        assert self._reach is not None
        overlap = F.softplus(self._reach - apart, SHARPNESS, _EXACT)
        between = seen.columns[:, self.layout.width :].unflatten(1, (2, relations))
        pushed = between[:, :, self._first :] * (overlap / apart)[:, None]
        # Obstacles stand before bodies, each with as many columns for every body.
        split = m * self.layout.places - self._first
        total = pushed[..., split:].unflatten(2, (m, -1)).sum(-1)
        if split:
            total = total + pushed[..., :split].unflatten(2, (m, -1)).sum(-1)
        return total * (-STIFFNESS * STEP)

    def move(self, seen: Seen, actions: Tensor) -> Tensor:
        """The rows ``[B, width]`` after a step in which body i does ``actions[:, i]``."""
        m = self.layout.bodies
        row = seen.columns[:, : self.layout.width]
        before = row[:, : 2 * m]
        added = F.embedding(actions + self._rows, self._pushes).mT  # [B, 2, m]
        if self._reach is not None:
            added = added + self._contacts(seen)
        velocity = torch.add(added.flatten(1), before, alpha=KEPT)
        if self._top is not None:
            speed = velocity.unflatten(1, (2, m)).square().sum(1).sqrt()
            # At rest this divides by zero, and the infinity is cut to 1.
            velocity = velocity * (self._top / speed).clamp_max(1.0).repeat(1, 2)
        position = torch.add(row[:, 2 * m : 4 * m], before, alpha=STEP)
        return torch.cat([velocity, position, row[:, 4 * m :]], 1)
