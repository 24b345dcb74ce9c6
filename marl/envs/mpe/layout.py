"""Where the numbers of a particle environment stand, and how what is seen is written down."""

from __future__ import annotations

from dataclasses import dataclass

Column = tuple[int, int]
"""What is shown: one column of the row minus another, which may be the one that is always 0."""

Pair = tuple[Column, Column]
"""(x, y) of something."""


@dataclass(frozen=True)
class Layout:
    """An instance's row of numbers, for m bodies and k fixed places.

    A row is ``[vx * m, vy * m, px * m, py * m, fx * k, fy * k, 0]``: velocities and places of the
    bodies, the fixed places, and a zero.
    """

    bodies: int
    places: int

    @property
    def width(self) -> int:
        """Columns of the row."""
        return 4 * self.bodies + 2 * self.places + 1

    @property
    def nothing(self) -> Column:
        """What always shows 0."""
        return self.width - 1, self.width - 1

    def _of_body(self, body: int) -> tuple[int, int]:
        return 2 * self.bodies + body, 3 * self.bodies + body

    def _of_place(self, index: int) -> tuple[int, int]:
        return 4 * self.bodies + index, 4 * self.bodies + self.places + index

    def velocity(self, body: int) -> Pair:
        """A body's velocity."""
        zero = self.width - 1
        return (body, zero), (self.bodies + body, zero)

    def position(self, body: int) -> Pair:
        """A body's place."""
        x, y = self._of_body(body)
        return (x, self.width - 1), (y, self.width - 1)

    def to_place(self, body: int, index: int) -> Pair:
        """A fixed place minus a body's place."""
        (px, py), (x, y) = self._of_place(index), self._of_body(body)
        return (px, x), (py, y)

    def to_body(self, body: int, other: int) -> Pair:
        """Another body's place minus a body's place."""
        (px, py), (x, y) = self._of_body(other), self._of_body(body)
        return (px, x), (py, y)

    def to_others(self, body: int) -> list[Pair]:
        """`to_body` of every other body, in their order."""
        return [self.to_body(body, other) for other in range(self.bodies) if other != body]
