"""Particle environments: a plane with agents, landmarks, obstacles and whoever plays against them.

The state tells where things are as seen by each agent. Where it has no positions (adversary), the
first landmark, which never moves, is the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marl.scenes.episode import Played
from marl.scenes.scene import FAINT, GOOD, INK, CannotDrawError, Place, Scene, disc, pairs

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_WIDE, _EDGE = 460, 16
_OPPONENT = "#d62728"
_SIZES = {"spread": 0.15, "tag": 0.075}
"""Radius of an agent by scenario, where it takes room."""
_PREY, _OBSTACLE, _POINT = 0.05, 0.2, 0.05


@dataclass(frozen=True)
class _Moment:
    agents: list[Place]
    still: list[Place]
    """Landmarks or obstacles."""
    goal: Place | None
    opponent: Place | None


class Particles(Scene):
    """Agents with their numbers; landmarks grey, the goal green, the opponent red."""

    size = (_WIDE, _WIDE)
    step_ms = 150

    def __init__(self, episode: Played) -> None:
        super().__init__(episode)
        self._fixed = next((what for what in ("landmarks", "obstacles") if self._tells(what)), None)
        if self._fixed is None:
            raise CannotDrawError("neither landmarks nor obstacles")
        signs = {"goal": "green: goal", "prey": "red: prey", "adversary": "red: adversary"}
        told = [words for what, words in signs.items() if self._tells(what)]
        self.legend = ", ".join([f"grey: {self._fixed}", *told])
        self._moments = [self._moment(t) for t in range(episode.steps + 1)]
        every = [
            place
            for m in self._moments
            for place in (*m.agents, *m.still, *([m.opponent] if m.opponent else []))
        ]
        low = [min(place[axis] for place in every) for axis in (0, 1)]
        high = [max(place[axis] for place in every) for axis in (0, 1)]
        self._centre = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
        reach = max(1.0, *((b - a) / 2 for a, b in zip(low, high, strict=True))) + 0.2
        self._scale = (_WIDE / 2 - _EDGE) / reach

    def _tells(self, what: str) -> bool:
        names = {s.name for s in self.episode.card.state}
        return all(f"agent{i}_{what}" in names for i in range(self.episode.card.n_agents))

    def _moment(self, t: int) -> _Moment:
        parts, n = self.episode.parts(t), self.episode.card.n_agents
        seen = [pairs(parts[f"agent{i}_{self._fixed}"]) for i in range(n)]
        if self._tells("position"):
            agents = [_place(parts[f"agent{i}_position"]) for i in range(n)]
        else:
            agents = [(-own[0][0], -own[0][1]) for own in seen]
        still = [_sum(agents[0], place) for place in seen[0]]
        theirs = next((w for w in ("prey", "adversary") if self._tells(w)), None)
        return _Moment(
            agents,
            still,
            _sum(agents[0], parts["agent0_goal"]) if self._tells("goal") else None,
            None if theirs is None else _sum(agents[0], parts[f"agent0_{theirs}"]),
        )

    def paint(self, draw: ImageDraw, t: int) -> None:
        now, scenario = self._moments[t], str(self.episode.card.env.options.get("scenario"))
        size = _OBSTACLE if self._fixed == "obstacles" else _POINT
        for place in now.still:
            disc(draw, self._at(place), size * self._scale, "#c9c9c1", FAINT)
        if now.goal is not None:
            disc(draw, self._at(now.goal), _POINT * self._scale + 3, GOOD, INK, 2)
        for agent, place in enumerate(now.agents):
            self._trail(draw, [m.agents[agent] for m in self._moments[: t + 1]])
            radius = max(9.0, _SIZES.get(scenario, 0.0) * self._scale)
            self.body(draw, t, agent, self._at(place), radius)
        if now.opponent is not None:
            disc(draw, self._at(now.opponent), max(7.0, _PREY * self._scale), _OPPONENT, INK, 2)

    def _trail(self, draw: ImageDraw, places: Sequence[Place]) -> None:
        if len(places) > 1:
            draw.line([self._at(place) for place in places[-6:]], FAINT, 1)

    def _at(self, place: Place) -> Place:
        """Pixels; y grows upwards on the plane."""
        x, y = (value - middle for value, middle in zip(place, self._centre, strict=True))
        return _WIDE / 2 + x * self._scale, _WIDE / 2 - y * self._scale


def _place(values: Sequence[float]) -> Place:
    x, y = values
    return x, y


def _sum(place: Place, away: Sequence[float]) -> Place:
    return place[0] + away[0], place[1] + away[1]
