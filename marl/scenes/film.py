"""An episode as a GIF or an MP4 file: its scene, and beside it actions, credit and return."""

from __future__ import annotations

import contextlib
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from marl.scenes.episode import Played
from marl.scenes.football import Football
from marl.scenes.lbf import Foraging
from marl.scenes.matrix import Matrix
from marl.scenes.mpe import Particles
from marl.scenes.scene import (
    AGAINST,
    CREDIT,
    FAINT,
    INK,
    PALE,
    PAPER,
    CannotDrawError,
    Scene,
    colour_of,
    cut,
    font,
)
from marl.scenes.table import Table

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SCENES: dict[str, type[Scene]] = {
    "football": Football,
    "lbf": Foraging,
    "matrix": Matrix,
    "mpe": Particles,
}
"""By the kind of task; others are tables."""
MOST_STEPS = 2_000
"""Of a film, which shows the first ones."""
_HEAD, _LANE, _PANEL, _EDGE = 34, 26, 430, 14
_NAME, _ACTION, _BAR = 132, 110, 110
_LINE = 18
_END_MS = 1500
_FPS = 20


def scene_of(episode: Played) -> Scene:
    """The scene of the task's kind, or a table."""
    try:
        return SCENES.get(episode.card.env.kind, Table)(episode)
    except CannotDrawError:
        return Table(episode)


def frames(scene: Scene) -> Iterator[Image]:
    """The pictures of moments 0 to T; T is the end, after the last step."""
    for t in range(min(scene.episode.steps, MOST_STEPS) + 1):
        yield _frame(scene, t)


def write_gif(episode: Played, path: Path) -> None:
    """The film as a GIF file.

    Raises:
        OSError: it cannot be written.
    """
    scene = scene_of(episode)
    first, *rest = (image.quantize(64) for image in frames(scene))
    durations = [scene.step_ms] * len(rest) + [_END_MS]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)


def write_mp4(episode: Played, path: Path, ffmpeg: str) -> None:
    """The film as an MP4 file (H.264).

    Args:
        ffmpeg: the program.

    Raises:
        OSError: it cannot be run or failed; its last line is the reason.
    """
    scene = scene_of(episode)
    wide, high = _size(scene)
    words = [ffmpeg, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    words += ["-s", f"{wide}x{high}", "-r", str(_FPS), "-i", "-"]
    words += ["-pix_fmt", "yuv420p", "-f", "mp4", str(path)]
    repeated = max(1, round(scene.step_ms * _FPS / 1000))
    data, last = b"", round(_END_MS * _FPS / 1000)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended early, and says why
            for image in frames(scene):
                data = image.tobytes()
                process.stdin.write(data * repeated)
            process.stdin.write(data * (last - repeated))
        _, said = process.communicate()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        raise OSError(process.returncode, f"{ffmpeg}: {lines[-1]}")


def _below(scene: Scene) -> bool:
    """Whether the agents' lanes are below the scene, which then is wide enough for them."""
    return scene.size[0] >= 2 * _PANEL - 40


def _size(scene: Scene) -> tuple[int, int]:
    """Pixels of a whole frame, both even, as H.264 wants them."""
    wide, high = scene.size
    lanes = 2 * _EDGE + scene.episode.card.n_agents * _LANE + len(_legend(scene)) * _LINE
    whole = (wide, high + lanes) if _below(scene) else (wide + _PANEL, max(high, lanes))
    return whole[0] + whole[0] % 2, whole[1] + _HEAD + (whole[1] + _HEAD) % 2


def _legend(scene: Scene) -> list[str]:
    credit = scene.episode.weights is not None
    return [*filter(None, [scene.legend]), *(["credit: d q_tot / d Q of each agent"] * credit)]


def _frame(scene: Scene, t: int) -> Image:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", _size(scene), PAPER)
    picture = Image.new("RGB", scene.size, PAPER)
    scene.paint(ImageDraw.Draw(picture), t)
    image.paste(picture, (0, _HEAD))
    draw, episode = ImageDraw.Draw(image), scene.episode
    total = sum(episode.rewards[: t + 1])
    moment = f"step {t + 1} of {episode.steps}" if t < episode.steps else "end"
    told = f"{moment}   return {total:.2f}"
    draw.rectangle((0, 0, image.width, _HEAD), INK)
    right = image.width - _EDGE
    draw.text((right, _HEAD / 2), told, PAPER, font(14), anchor="rm")
    room = right - font(14).getlength(told) - 3 * _EDGE
    draw.text((_EDGE, _HEAD / 2), cut(episode.title, room, 14), PAPER, font(14), anchor="lm")
    below = _below(scene)
    x, y = (_EDGE, _HEAD + scene.size[1]) if below else (scene.size[0] + _EDGE, _HEAD)
    for agent in range(episode.card.n_agents):
        _lane(draw, scene, t, agent, x, y + _EDGE + agent * _LANE)
    y += _EDGE + episode.card.n_agents * _LANE + 4
    for line, text in enumerate(_legend(scene)):
        draw.text((x, y + line * _LINE), text, FAINT, font(12))
    return image


def _lane(draw: ImageDraw, scene: Scene, t: int, agent: int, x: float, y: float) -> None:
    """An agent's name, its action, and its credit as a bar with its number."""
    episode, middle = scene.episode, y + _LANE / 2
    if scene.coloured:
        draw.rectangle((x, y + 6, x + 12, y + _LANE - 6), colour_of(agent), FAINT)
    name = cut(scene.who(t, agent), _NAME - 24, 13)
    draw.text((x + 20 * scene.coloured, middle), name, INK, font(13), anchor="lm")
    action = cut(episode.action(t, agent), _ACTION - 8, 13)
    draw.text((x + _NAME, middle), action, INK, font(13), anchor="lm")
    weight = episode.weight(t, agent)
    if weight is None:
        return
    bar, share = x + _NAME + _ACTION, episode.share(t, agent)
    draw.rectangle((bar, y + 6, bar + _BAR, y + _LANE - 6), PALE)
    if share:
        end = bar + _BAR * abs(share)
        draw.rectangle((bar, y + 6, end, y + _LANE - 6), CREDIT if share > 0 else AGAINST)
    number = f"{weight:.2f}" if math.isfinite(weight) else "none"
    draw.text((bar + _BAR + 8, middle), number, INK, font(13), anchor="lm")
