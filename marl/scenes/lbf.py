"""Level-based foraging: the grid, players and food with their levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marl.scenes.episode import Played
from marl.scenes.scene import GOOD, INK, PALE, CannotDrawError, Place, Scene, font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_EDGE, _WIDE = 12, 440


class Foraging(Scene):
    """Players are discs with their numbers, food is green."""

    legend = "green: food and its level"

    def __init__(self, episode: Played) -> None:
        super().__init__(episode)
        card, self._foods = episode.card, 0
        size = card.env.options.get("size")
        names = {s.name for s in card.state}
        needed = {f"agent{i}_{what}" for i in range(card.n_agents) for what in _TOLD}
        if not isinstance(size, int) or size < 1 or not needed <= names:
            raise CannotDrawError("no grid, or players without place and level")
        while {f"food{self._foods}_{what}" for what in _TOLD} <= names:
            self._foods += 1
        self._cell, self._cells = max(8, _WIDE // size), size
        self.size = (2 * _EDGE + size * self._cell,) * 2

    def paint(self, draw: ImageDraw, t: int) -> None:
        parts, far = self.episode.parts(t), _EDGE + self._cells * self._cell
        for line in range(_EDGE, far + 1, self._cell):
            draw.line((line, _EDGE, line, far), PALE)
            draw.line((_EDGE, line, far, line), PALE)
        for i in range(self._foods):
            place, (level,) = parts[f"food{i}_position"], parts[f"food{i}_level"]
            if place[0] < 0:
                continue  # collected
            x, y = self._at(place[0], place[1])
            half = 0.36 * self._cell
            box = (x - half, y - half, x + half, y + half)
            draw.rounded_rectangle(box, half / 2, GOOD, INK)
            draw.text((x, y), f"{level:g}", INK, font(14), anchor="mm")
        for i in range(self.episode.card.n_agents):
            place, (level,) = parts[f"agent{i}_position"], parts[f"agent{i}_level"]
            self.body(draw, t, i, self._at(place[0], place[1]), 0.3 * self._cell)

    def who(self, t: int, agent: int) -> str:
        (level,) = self.episode.parts(t)[f"agent{agent}_level"]
        return f"agent {agent}, level {level:g}"

    def _at(self, row: float, column: float) -> Place:
        return _EDGE + (column + 0.5) * self._cell, _EDGE + (row + 0.5) * self._cell


_TOLD = ("position", "level")
