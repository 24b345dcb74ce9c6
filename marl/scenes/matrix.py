"""Matrix games: the pay-off array with the joint action that is played."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from marl.scenes.episode import Played
from marl.scenes.scene import CREDIT, FAINT, INK, CannotDrawError, Scene, cut, font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_CELL, _HIGH, _LABEL, _GAP = 62, 40, 58, 22
_MOST_TABLES, _MOST_ACTIONS = 6, 10


class Matrix(Scene):
    """Rows are the last but one agent's actions, columns the last one's; one table for each joint
    action of the others."""

    step_ms = 400
    legend = "rows: the last but one agent, columns: the last"

    def __init__(self, episode: Played) -> None:
        super().__init__(episode)
        card = episode.card
        n, a, options = card.n_agents, card.n_actions, card.env.options
        self._others = list(itertools.product(range(a), repeat=max(0, n - 2)))
        if n < 2 or a > _MOST_ACTIONS or len(self._others) > _MOST_TABLES:
            raise CannotDrawError("too many joint actions for tables")
        self._payoffs: Any = options.get("payoffs", [options.get("payoff")])
        self._tall = 2 * _GAP + a * _HIGH + _GAP
        self.size = (_LABEL + a * _CELL + _GAP, len(self._others) * self._tall + _GAP)
        every = [self._paid(w, joint) for w in range(len(self._payoffs)) for joint in self._joint()]
        self._low, self._high = min(every), max(every)

    def _joint(self) -> itertools.product[tuple[int, ...]]:
        card = self.episode.card
        return itertools.product(range(card.n_actions), repeat=card.n_agents)

    def _paid(self, which: int, joint: tuple[int, ...]) -> float:
        value = self._payoffs[which]
        for action in joint:
            value = value[action]
        return float(value)

    def paint(self, draw: ImageDraw, t: int) -> None:
        episode, names = self.episode, self.episode.card.action_names
        which = int(episode.states[t][-1]) if len(self._payoffs) > 1 else 0
        played = tuple(episode.actions[t]) if t < episode.steps else None
        for place, others in enumerate(self._others):
            top = place * self._tall + _GAP
            if len(self._payoffs) > 1:
                self._named(draw, f"pay-offs {which + 1} of {len(self._payoffs)}", top - 16)
            if others:
                told = ", ".join(f"agent {i}: {names[x]}" for i, x in enumerate(others))
                self._named(draw, told, top)
            for action, name in enumerate(names):
                x, y = _LABEL + (action + 0.5) * _CELL, top + 2 * _GAP + (action + 0.5) * _HIGH
                draw.text((x, top + 1.4 * _GAP), cut(name, _CELL, 12), INK, font(12), anchor="mm")
                draw.text((_LABEL - 8, y), cut(name, _LABEL - 10, 12), INK, font(12), anchor="rm")
            for row, column in itertools.product(range(len(names)), repeat=2):
                joint = (*others, row, column)
                self._cell(draw, joint, which, top + 2 * _GAP, joint == played)

    def _named(self, draw: ImageDraw, text: str, y: float) -> None:
        draw.text((_LABEL, y), cut(text, self.size[0] - _LABEL, 12), FAINT, font(12))

    def _cell(
        self, draw: ImageDraw, joint: tuple[int, ...], which: int, top: float, played: bool
    ) -> None:
        row, column = joint[-2:]
        x, y, value = _LABEL + column * _CELL, top + row * _HIGH, self._paid(which, joint)
        share = (value - self._low) / ((self._high - self._low) or 1.0)
        low, high = (245, 222, 214), (186, 224, 203)  # from the worst to the best pay-off
        shade = tuple(round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
        draw.rectangle((x, y, x + _CELL, y + _HIGH), shade, FAINT)
        if played:
            draw.rectangle((x + 2, y + 2, x + _CELL - 2, y + _HIGH - 2), None, CREDIT, 4)
        size = 15 if played else 13
        draw.text((x + _CELL / 2, y + _HIGH / 2), f"{value:g}", INK, font(size), anchor="mm")
