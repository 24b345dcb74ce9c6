"""Any task: the last steps as a table of actions with credit, and rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marl.scenes.episode import Played
from marl.scenes.scene import FAINT, INK, PALE, Scene, cut, font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_ROWS, _HIGH, _STEP, _COLUMN, _EDGE = 14, 24, 46, 104, 12
_MOST_AGENTS = 6


class Table(Scene):
    """Newest step last, on a grey stripe; the first agents, where there are many."""

    def __init__(self, episode: Played) -> None:
        super().__init__(episode)
        self._agents = min(episode.card.n_agents, _MOST_AGENTS)
        wide = 2 * _EDGE + _STEP + (self._agents + 1) * _COLUMN
        self.size = (wide, 2 * _EDGE + (_ROWS + 1) * _HIGH)

    def paint(self, draw: ImageDraw, t: int) -> None:
        episode = self.episode
        names = ["step", *(f"agent {i}" for i in range(self._agents)), "reward"]
        self._row(draw, 0, names, FAINT)
        last = min(t, episode.steps - 1)
        first = max(0, last - _ROWS + 1)
        for row, at in enumerate(range(first, last + 1), 1):
            if at == t:
                y = _EDGE + row * _HIGH
                draw.rectangle((0, y, self.size[0], y + _HIGH), PALE)
            told = [self._told(at, i) for i in range(self._agents)]
            self._row(draw, row, [str(at + 1), *told, f"{episode.rewards[at]:.4g}"], INK)

    def _told(self, t: int, agent: int) -> str:
        weight = self.episode.weight(t, agent)
        action = self.episode.action(t, agent)
        return action if weight is None else f"{cut(action, _COLUMN - 48, 13)} {weight:.2f}"

    def _row(self, draw: ImageDraw, row: int, words: list[str], colour: str) -> None:
        x, y = float(_EDGE), _EDGE + row * _HIGH + 4
        for place, word in enumerate(words):
            wide = _COLUMN if place else _STEP
            draw.text((x, y), cut(word, wide - 8, 13), colour, font(13))
            x += wide
