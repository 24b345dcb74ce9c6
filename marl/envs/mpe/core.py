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

Known differences from mpe2:

- Observations are of the environment's number type; mpe2 computes in float64 and shows float32.
- Two bodies at exactly the same place do not push each other; there mpe2 divides zero by zero.
- Sums may be taken in another order, so that numbers agree to rounding, not to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marl.envs.mpe.layout import Column, Layout, Pair

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

_TINY = 1e-30  # divides instead of a distance of zero


class Scene(NamedTuple):
    """An instance's row, and what follows from it; computed once after each move."""

    row: Tensor
    """``[B, width]``, as `Layout` says."""
    shown: Tensor
    """``[B, columns]``: the views, one after the other, then what is measured but in no view."""
    between: Tensor
    """``[B, 2, relations]``: the x, then the y, of contacts and of what is measured."""
    apart: Tensor
    """``[B, relations]``: distances, never below a tiny positive number."""


class Physics:
    """Moves bodies and shows them; it holds constants only, and what moves stands in a scene.

    Relations of two places are computed once after each move: rewards, observations and the next
    step's contacts all read them. That, and rows in which all x stand before all y, makes a step
    few and cheap operations.

    Args:
        layout: bodies and fixed places.
        views: lists of columns to show.
        measured: pairs of which the distance is wanted besides those in contact.
        sizes: radius of each body; None where nobody is in anybody's way.
        obstacle_size: radius of the fixed places where they are obstacles, else None.
        pushes: force of each body's own push.
        top_speeds: greatest speed of each body; None for no limit.

    Relations are, body by body, those in contact: to the obstacles, then to the other bodies; and
    after them the measured.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        views: Sequence[Sequence[Column]],
        measured: Sequence[Pair],
        sizes: Sequence[float] | None,
        obstacle_size: float | None,
        pushes: Sequence[float],
        top_speeds: Sequence[float] | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        def constant(values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
            return torch.tensor(values, device=device, dtype=dtype)

        m = layout.bodies
        self.layout, self._bodies, self._width = layout, m, layout.width
        contacts: list[Pair] = []
        reach: list[float] = []
        if sizes is not None:
            for body in range(m):
                if obstacle_size is not None:
                    contacts += [layout.to_place(body, place) for place in range(layout.places)]
                    reach += [sizes[body] + obstacle_size] * layout.places
                contacts += layout.to_others(body)
                reach += [sizes[body] + sizes[other] for other in range(m) if other != body]
        self._contacts = len(contacts)
        self._reach = constant(reach) * SHARPNESS
        self._zero = constant([0.0])

        pairs = [*contacts, *measured]
        shown = [column for view in views for column in view]
        known = set(shown)
        shown += [column for pair in pairs for column in pair if column not in known]
        at = {column: index for index, column in enumerate(shown)}
        plus, minus = zip(*shown, strict=True)
        self._plus = torch.tensor(plus, device=device)
        self._minus = torch.tensor(minus, device=device)
        picked = [at[pair[axis]] for axis in (0, 1) for pair in pairs]
        self._related, self._relations = torch.tensor(picked, device=device), len(pairs)

        # A push adds to the velocity by its force times the duration. Where pushes differ, each
        # body has its own rows in the table.
        alike = len(set(pushes)) == 1
        gain = constant(pushes[:1] if alike else pushes)[:, None, None] * STEP
        self._pushes = (constant(DIRECTIONS) * gain).flatten(0, 1)
        self._first = None if alike else torch.arange(m, device=device) * len(DIRECTIONS)
        self._top = None if top_speeds is None else constant(top_speeds)[:, None].mT

    def row(self, velocity: Tensor, position: Tensor, places: Tensor) -> Tensor:
        """The rows ``[B, width]`` of velocities and places ``[B, m, 2]``, fixed ``[B, k, 2]``."""
        parts = [x.mT.flatten(1) for x in (velocity, position, places)]
        return torch.cat([*parts, torch.zeros_like(parts[0][:, :1])], 1)

    def look(self, row: Tensor) -> Scene:
        """What follows from rows ``[B, width]``."""
        shown = row.index_select(1, self._plus) - row.index_select(1, self._minus)
        between = shown.index_select(1, self._related).view(-1, 2, self._relations)
        apart = between.square().sum(1).sqrt_().clamp_min_(_TINY)
        return Scene(row, shown, between, apart)

    def move(self, scene: Scene, actions: Tensor) -> Tensor:
        """The rows ``[B, width]`` after a step in which body i does ``actions[:, i]``."""
        m, row = self._bodies, scene.row
        before = row[:, : 2 * m].view(-1, 2, m)
        at = actions if self._first is None else actions + self._first
        added = torch.embedding(self._pushes, at).mT  # [B, 2, m]
        if self._contacts:
            apart = scene.apart[:, : self._contacts]
            overlap = torch.logaddexp(torch.sub(self._reach, apart, alpha=SHARPNESS), self._zero)
            pushed = scene.between[:, :, : self._contacts] * (overlap / apart).unsqueeze(1)
            total = pushed.view(-1, 2, m, self._contacts // m).sum(3)
            added = torch.add(added, total, alpha=-STIFFNESS * STEP / SHARPNESS)
        velocity = torch.add(added, before, alpha=KEPT)
        if self._top is not None:
            speed = velocity.square().sum(1, keepdim=True).sqrt_()
            # At rest this divides by zero, and the infinity is cut to 1.
            velocity = velocity * (self._top / speed).clamp_max_(1.0)
        position = torch.add(row[:, 2 * m : 4 * m].view(-1, 2, m), before, alpha=STEP)
        return torch.cat([velocity.flatten(1), position.flatten(1), row[:, 4 * m :]], 1)
