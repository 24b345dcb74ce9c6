"""What a scene is, and what scenes draw with."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marl.scenes.episode import Played

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

INK, FAINT, PALE, PAPER = "#1c1c1c", "#8a8a8a", "#d9d9d2", "#f4f4ef"
CREDIT, AGAINST, GOOD = "#e4572e", "#7b4fa3", "#009e73"
"""Of positive and of negative credit, and of what is worth reaching."""
AGENTS = ("#e69f00", "#56b4e9", "#cc79a7", "#f0e442", "#b2b2b2", "#d0a27a")
"""Those of Okabe and Ito's palette that a dark number is read on, and two more."""

Place = tuple[float, float]


class CannotDrawError(ValueError):
    """A card that is not as this scene expects it."""


class Scene(ABC):
    """The picture of one episode at each of its moments.

    Args:
        episode: what is drawn.

    Raises:
        CannotDrawError: its card is not as this scene expects it.
    """

    size: tuple[int, int] = (400, 400)
    """Pixels, both even."""
    step_ms: int = 250
    """How long a step is shown."""
    legend: str = ""
    """What its signs mean, in a short line."""
    coloured: bool = True
    """Whether agents are told apart by their colours."""

    def __init__(self, episode: Played) -> None:
        self.episode = episode

    @abstractmethod
    def paint(self, draw: ImageDraw, t: int) -> None:
        """Moment t, from 0 to T; the upper left corner is (0, 0)."""

    def who(self, t: int, agent: int) -> str:
        """An agent's name at moment t."""
        return f"agent {agent}"

    def body(self, draw: ImageDraw, t: int, agent: int, at: Place, radius: float) -> None:
        """An agent as a disc with its number, and around it a ring as wide as its credit."""
        share = self.episode.share(t, agent)
        if share:
            disc(draw, at, radius + 3 + 12 * abs(share), None, CREDIT if share > 0 else AGAINST, 3)
        disc(draw, at, radius, colour_of(agent), INK, 2)
        draw.text(at, str(agent), INK, font(12), anchor="mm")


def colour_of(agent: int) -> str:
    """An agent's colour."""
    return AGENTS[agent % len(AGENTS)]


def disc(
    draw: ImageDraw, at: Place, radius: float, fill: str | None, line: str, width: int = 1
) -> None:
    """A filled circle around a place, in pixels."""
    x, y = at
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill, line, width)


def pairs(values: Sequence[float]) -> list[Place]:
    """Places that are written one after the other."""
    return list(zip(values[::2], values[1::2], strict=True))


def cut(text: str, width: float, size: int) -> str:
    """As much of a text as fits so many pixels."""
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


@functools.cache
def font(size: int) -> Any:
    """Pillow's own font."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
