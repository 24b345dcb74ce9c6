"""Football: the pitch from above, with all players, the ball, and the agents' credit as rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marl.scenes.episode import Played
from marl.scenes.scene import CREDIT, INK, CannotDrawError, Place, Scene, disc, font, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.ImageDraw import ImageDraw

_SCALE, _MARGIN = 400, 30  # pixels from the middle of the pitch to a goal, and around it
_HALF_WIDTH, _GOAL = 0.42, 0.044  # of pitch and goal, in the state's unit
_GRASS, _LINE, _WHITE = "#2f6b3a", "#d7e6d5", "#ffffff"
_OURS, _THEIRS = "#f2c230", "#4f8fd0"


class Football(Scene):
    """At the game's own speed: ten steps are a second."""

    size = (2 * _SCALE + 2 * _MARGIN, int(2 * _HALF_WIDTH * _SCALE) + 2 * _MARGIN)
    step_ms = 100
    coloured = False
    legend = "yellow: our players, white rim: an agent's"

    def __init__(self, episode: Played) -> None:
        super().__init__(episode)
        names = {s.name for s in episode.card.state}
        for what in ("left_position", "right_position", "ball", "ball_height"):
            if f"agent0_{what}" not in names:
                raise CannotDrawError(f"no {what}")

    def paint(self, draw: ImageDraw, t: int) -> None:
        parts, episode = self.episode.parts(t), self.episode
        _pitch(draw, *self.size)
        for place in pairs(parts["agent0_right_position"]):
            disc(draw, _at(place), 8, _THEIRS, INK, 2)
        players = {self._player(parts, i): i for i in reversed(range(episode.card.n_agents))}
        for number, place in enumerate(pairs(parts["agent0_left_position"])):
            agent, at = players.get(number), _at(place)
            if agent is not None and episode.weight(t, agent) is not None:
                disc(draw, at, 9 + 14 * max(0.0, episode.share(t, agent)), None, CREDIT, 2)
            disc(draw, at, 8, _OURS, INK if agent is None else _WHITE, 2)
            draw.text(at, str(number), INK, font(11), anchor="mm")
        (height,) = parts["agent0_ball_height"]
        x, y = parts["agent0_ball"]
        disc(draw, _at((x, y)), 4 + min(4.0, max(0.0, height)), _WHITE, INK, 2)

    def who(self, t: int, agent: int) -> str:
        return f"agent {agent}, player {self._player(self.episode.parts(t), agent)}"

    def _player(self, parts: dict[str, Sequence[float]], agent: int) -> int:
        """Which of our players an agent has."""
        marks = parts.get(f"agent{agent}_active")
        return agent if marks is None else max(range(len(marks)), key=lambda i: marks[i])


def _pitch(draw: ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), _GRASS)
    draw.rectangle((*_at((-1, -_HALF_WIDTH)), *_at((1, _HALF_WIDTH))), outline=_LINE)
    draw.line((*_at((0, -_HALF_WIDTH)), *_at((0, _HALF_WIDTH))), _LINE)
    for side in (-1, 1):
        ends = sorted((side, side * 1.03))
        draw.rectangle((*_at((ends[0], -_GOAL)), *_at((ends[1], _GOAL))), outline=_WHITE, width=2)


def _at(place: Place) -> Place:
    """Pixels of a place on the pitch; y grows downwards in both."""
    x, y = place
    return _MARGIN + (x + 1) * _SCALE, _MARGIN + (y + _HALF_WIDTH) * _SCALE
