"""An episode of football as a moving picture, drawn from the states."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from prompts.cards import TaskCard

_SCALE = 400  # pixels from the middle of the pitch to a goal
_MARGIN, _LANE = 30, 26
_HALF_WIDTH, _GOAL = 0.42, 0.044  # of pitch and goal, in the state's unit
_STEP_MS, _END_MS = 100, 1500  # ten steps of the game are a second
_GRASS, _LINE, _INK, _PALE = "#2f6b3a", "#d7e6d5", "#1c1c1c", "#f4f4ef"
_OURS, _THEIRS, _BALL, _CREDIT = "#f2c230", "#4f8fd0", "#ffffff", "#e4572e"


@dataclass(frozen=True)
class FootballEpisode:
    """What is drawn; T steps, n agents, ``left`` and ``right`` players."""

    title: str
    action_names: tuple[str, ...]
    left: tuple[tuple[tuple[float, float], ...], ...]
    """``[T][left]``: places of our players"""
    right: tuple[tuple[tuple[float, float], ...], ...]
    ball: tuple[tuple[float, float, float], ...]
    """``[T]``: place and height"""
    players: tuple[tuple[int, ...], ...]
    """``[T][n]``: which of our players each agent has"""
    actions: tuple[tuple[int, ...], ...]
    """``[T][n]``"""
    rewards: tuple[float, ...]
    """``[T]``"""
    weights: tuple[tuple[float, ...], ...] | None
    """``[T][n]``: each agent's credit; None without a function"""


def football_episode(
    card: TaskCard,
    states: list[list[float]],
    actions: list[list[int]],
    rewards: list[float],
    weights: list[list[float]] | None,
    title: str,
) -> FootballEpisode:
    """An episode, read by the names of the card's state.

    Args:
        card: a task of football.
        states: ``[T, s]``, before each step.
        actions, weights: ``[T, n]``
        rewards: ``[T]``
        title: over the picture.

    Raises:
        ValueError: the card's state is not football's.
    """
    places = {s.name: range(at, at + s.size) for s, at in card.offsets()}
    try:
        sides = [places[f"agent0_{side}_position"] for side in ("left", "right")]
        ball, height = (places[f"agent0_{name}"] for name in ("ball", "ball_height"))
    except KeyError as error:
        raise ValueError(f"task '{card.name}' has no {error} in its state") from None
    marks = [places.get(f"agent{i}_active") for i in range(card.n_agents)]

    def pairs(state: list[float], columns: range) -> tuple[tuple[float, float], ...]:
        return tuple((state[c], state[c + 1]) for c in columns[::2])

    def player(state: list[float], agent: int) -> int:
        columns = marks[agent]
        return agent if columns is None else _largest(state, columns)

    return FootballEpisode(
        title=title,
        action_names=card.action_names,
        left=tuple(pairs(state, sides[0]) for state in states),
        right=tuple(pairs(state, sides[1]) for state in states),
        ball=tuple((state[ball[0]], state[ball[1]], state[height[0]]) for state in states),
        players=tuple(tuple(player(state, i) for i in range(card.n_agents)) for state in states),
        actions=tuple(map(tuple, actions)),
        rewards=tuple(rewards),
        weights=None if weights is None else tuple(map(tuple, weights)),
    )


def _largest(state: list[float], columns: range) -> int:
    return max(range(len(columns)), key=lambda i: state[columns[i]])


def draw_episode(episode: FootballEpisode, path: Path) -> None:
    """Write an episode as a GIF that moves at the game's own speed.

    Raises:
        OSError: it cannot be written.
    """
    frames = [_frame(episode, t) for t in range(len(episode.rewards))]
    durations = [_STEP_MS] * (len(frames) - 1) + [_END_MS]
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )


def _frame(episode: FootballEpisode, t: int) -> Image:
    from PIL import Image, ImageDraw

    agents = len(episode.players[t])
    width = 2 * _SCALE + 2 * _MARGIN
    pitch = int(2 * _HALF_WIDTH * _SCALE) + 2 * _MARGIN
    image = Image.new("RGB", (width, pitch + _MARGIN + agents * _LANE), _PALE)
    draw = ImageDraw.Draw(image)
    _pitch(draw, width, pitch)
    total = sum(episode.rewards[: t + 1])
    draw.text(
        (_MARGIN, 6),
        f"{episode.title}   step {t + 1}   return {total:.1f}",
        _PALE,
        _font(13),
    )
    for place in episode.right[t]:
        _disc(draw, place, 8, _THEIRS, _INK)
    most = max((max(row) for row in episode.weights or ((1.0,),)), default=1.0) or 1.0
    for number, place in enumerate(episode.left[t]):
        agent = next((i for i, p in enumerate(episode.players[t]) if p == number), None)
        if agent is not None and episode.weights is not None:
            _disc(draw, place, 9 + 14 * max(0.0, episode.weights[t][agent]) / most, None, _CREDIT)
        _disc(draw, place, 8, _OURS, _INK if agent is None else _BALL)
        draw.text(_at(place), str(number), _INK, _font(11), anchor="mm")
    x, y, height = episode.ball[t]
    _disc(draw, (x, y), 4 + min(4.0, max(0.0, height)), _BALL, _INK)
    for agent in range(agents):
        _lane(draw, episode, t, agent, pitch + 12 + agent * _LANE, most)
    return image.quantize(64)


def _pitch(draw: ImageDraw, width: int, height: int) -> None:
    draw.rectangle((0, 0, width, height), _GRASS)
    draw.rectangle((*_at((-1, -_HALF_WIDTH)), *_at((1, _HALF_WIDTH))), outline=_LINE)
    draw.line((*_at((0, -_HALF_WIDTH)), *_at((0, _HALF_WIDTH))), _LINE)
    for side in (-1, 1):
        ends = sorted((side, side * 1.03))
        draw.rectangle((*_at((ends[0], -_GOAL)), *_at((ends[1], _GOAL))), outline=_BALL, width=2)


def _lane(
    draw: ImageDraw, episode: FootballEpisode, t: int, agent: int, y: int, most: float
) -> None:
    """A line of text for an agent, and its credit as a bar."""
    player, action = episode.players[t][agent], episode.action_names[episode.actions[t][agent]]
    draw.text((_MARGIN, y), f"agent {agent}, player {player}: {action}", _INK, _font(13))
    if episode.weights is None:
        return
    weight = episode.weights[t][agent]
    left = _MARGIN + 300
    draw.rectangle((left, y + 2, left + 300 * max(0.0, weight) / most, y + 14), _CREDIT)
    draw.text((left + 310, y), f"credit {weight:.2f}", _INK, _font(13))


def _at(place: tuple[float, float]) -> tuple[float, float]:
    """Pixels of a place on the pitch; y grows downwards in both."""
    x, y = place
    return _MARGIN + (x + 1) * _SCALE, _MARGIN + (y + _HALF_WIDTH) * _SCALE


def _disc(
    draw: ImageDraw, place: tuple[float, float], size: float, fill: str | None, line: str
) -> None:
    x, y = _at(place)
    draw.ellipse((x - size, y - size, x + size, y + size), fill, line, 2)


@functools.cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
