"""An episode in lanes over its steps: each agent's credit weight with what it did below, the team's
reward, and the parts of the state that move the weights.

The same episode gives the same bytes.
"""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.report.figures import COLOURS, LINES, inline_svg, write_png
from qllm.text import one_line
from qllm.units import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_STEPS, MOST_AGENTS = 100, 16
"""Limits of a legible picture, which shows the first ones."""

_WIDE = 8.6
_LEFT, _RIGHT = 1.4, 1.0
"""Inches: of the whole, and of the labels on either side."""
_AGENT, _REWARD, _SLICE, _GAP = 0.74, 0.55, 0.72, 0.17
"""Inches: heights of the lanes, and between them."""
_TOP, _X_AXIS, _PRINT_LINE = 0.42, 0.42, 0.15
_CHARACTERS = 150

_GLYPHS = {
    **dict.fromkeys(("none", "noop", "no-op", "idle", "stay", "wait"), "·"),
    **dict.fromkeys(("left", "west", "move left"), "←"),
    **dict.fromkeys(("right", "east", "move right"), "→"),
    **dict.fromkeys(("up", "north", "move up"), "↑"),
    **dict.fromkeys(("down", "south", "move down"), "↓"),
}
_BLUE, _RED, _GREEN = COLOURS[0], COLOURS[1], COLOURS[2]


def action_glyphs(names: Sequence[str]) -> tuple[str, ...]:
    """A sign for each action: arrows and dots for the usual ones, else the first letter where no
    other action begins with it, else the action's number."""
    letters = [name if len(name) == 1 else name[:1].upper() for name in names]
    found = []
    for place, name in enumerate(names):
        plain = name.lower().replace("_", " ")
        letter = letters[place]
        alone = letter.isalnum() and letters.count(letter) == 1
        found.append(_GLYPHS.get(plain) or (letter if alone else str(place)))
    return tuple(found) if len(set(found)) == len(found) else tuple(map(str, range(len(names))))


def credit_svg(episode: CreditEpisode) -> Markup:
    """The picture for a page."""
    return inline_svg(
        lambda: _figure(episode, small_print=False),
        name="credit",
        css_class="whole",
        description=_description(episode),
    )


def draw_credit(episode: CreditEpisode, path: Path) -> None:
    """The picture as a PNG file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_png(lambda: _figure(episode, small_print=True), path)


def words(episode: CreditEpisode) -> list[str]:
    """Sentences that explain the picture."""
    signs = ", ".join(
        f"{glyph} {name}"
        for glyph, name in zip(
            action_glyphs(episode.action_names), episode.action_names, strict=True
        )
        if glyph.lower() != name.lower()
    )
    said = [
        f"Played: {episode.policy} (seed {episode.seed}), return {number(episode.team_return)}.",
        "Weight: how much q_tot rises when this agent's Q rises by 1 (∂q_tot/∂Q), in the state in"
        " which it acts; one scale for all agents.",
    ]
    if not episode.linear_in_q:
        said.append(
            "The weights also depend on the agents' Qs; taken at "
            + (
                "the trained agents' own."
                if episode.policy.startswith("greedy")
                else "equal shares of the reward still to come."
            )
        )
    if signs:
        said.append(f"Signs: {signs}.")
    if episode.slices:
        more = any(trace.left_out for trace in episode.slices)
        said.append(
            "State: the parts that move the weights most, strongest first, by their columns in the"
            " task card" + ("; (+2): two more columns that matter less." if more else ".")
        )
    else:
        said.append("No part of the state was seen to move the weights.")
    if episode.steps > MOST_STEPS or len(episode.weights) > MOST_AGENTS:
        said.append(
            f"Shown: the first {min(episode.steps, MOST_STEPS)} of {episode.steps} steps and"
            f" {min(len(episode.weights), MOST_AGENTS)} of {len(episode.weights)} agents."
        )
    return said


def _description(episode: CreditEpisode) -> str:
    means = ", ".join(
        f"agent {i} {number(sum(row) / max(1, len(row)))}" for i, row in enumerate(episode.weights)
    )
    return f"Credit weights along an episode of {episode.task}; means: {means}."


def _figure(episode: CreditEpisode, *, small_print: bool) -> Figure:
    from matplotlib.figure import Figure

    steps, agents = min(episode.steps, MOST_STEPS), min(len(episode.weights), MOST_AGENTS)
    heights = [_AGENT] * agents + [_REWARD] + [_SLICE] * len(episode.slices)
    printed = _printed(episode) if small_print else []
    bottom = _X_AXIS + (_PRINT_LINE * len(printed) + 0.12 if printed else 0.0)
    top = _TOP if small_print else 0.06
    tall = top + sum(heights) + _GAP * (len(heights) - 1) + bottom
    figure = Figure(figsize=(_WIDE, tall))
    lanes, y = [], tall - top
    for height in heights:
        box = (_LEFT / _WIDE, (y - height) / tall, 1 - (_LEFT + _RIGHT) / _WIDE, height / tall)
        lanes.append(figure.add_axes(box))
        y -= height + _GAP
    low, high = _limits([v for row in episode.weights[:agents] for v in row[:steps]])
    for i in range(agents):
        _agent_lane(lanes[i], episode, i, steps, low, high)
    _reward_lane(lanes[agents], episode.rewards[:steps], episode.team_return)
    for axes, trace in zip(lanes[agents + 1 :], episode.slices, strict=True):
        _slice_lane(axes, trace, steps)
    for axes in lanes:
        axes.grid(visible=False)
        axes.set_xlim(0, steps)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="x", length=0, labelbottom=False)
        axes.tick_params(axis="y", labelsize=7.5, length=2)
    _steps_axis(lanes[-1], steps)
    if small_print:
        function = one_line(episode.function.rpartition("/")[2], 60)
        title = f"{episode.task}: the credit of each agent, by {function}"
        figure.text(0.012, 1 - 0.13 / tall, title, fontsize=11, va="top")
        for place, line in enumerate(reversed(printed)):
            figure.text(0.012, (0.07 + _PRINT_LINE * place) / tall, line, fontsize=7.5, va="bottom")
    return figure


def _printed(episode: CreditEpisode) -> list[str]:
    return [line for said in words(episode) for line in textwrap.wrap(said, _CHARACTERS)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a scale that holds all values and 0."""
    finite = [v for v in values if math.isfinite(v)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    return (low, high) if high > low else (0.0, 1.0)


def _named(axes: Axes, name: str, unit: str) -> None:
    """A lane's name and what its numbers are, to the left of them."""
    where: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "clip_on": False}
    x = -0.47 / (_WIDE - _LEFT - _RIGHT)
    # What is long is drawn smaller, for the room beside a lane is what it is.
    size, small = min(8.5, 110 / max(1, len(name))), min(7.5, 120 / max(1, len(unit)))
    axes.text(x, 0.66, name, va="center", fontsize=size, fontweight="bold", **where)
    axes.text(x, 0.36, unit, va="center", fontsize=small, **where)


def _beside(axes: Axes, text: str, y: float = 0.5, colour: str | None = None) -> None:
    """A direct label to the right of a lane, ``y`` from 0 (bottom) to 1."""
    x = 1 + 0.07 / (_WIDE - _LEFT - _RIGHT)
    kind: dict[str, Any] = {} if colour is None else {"color": colour}
    axes.text(x, y, text, transform=axes.transAxes, va="center", fontsize=7.5, **kind)


def _agent_lane(
    axes: Axes, episode: CreditEpisode, i: int, steps: int, low: float, high: float
) -> None:
    row = list(episode.weights[i][:steps])
    edges = list(range(steps + 1))
    colour = _BLUE
    axes.fill_between(edges, [*row, row[-1]], step="post", color=colour, alpha=0.22, linewidth=0)
    axes.step(edges, [*row, row[-1]], where="post", color=colour, linewidth=1.4)
    axes.axhline(0, linewidth=0.6, color=_line_colour(axes))
    # Below the weights stand the actions, in a strip of their own.
    strip = 0.42 * (high - low)
    axes.set_ylim(low - strip, high + 0.06 * (high - low))
    axes.spines["left"].set_bounds(low, high)
    axes.set_yticks(_ticks(low, high))
    axes.yaxis.set_major_formatter(_short)
    glyphs = action_glyphs(episode.action_names)
    size = max(4.0, min(9.0, 72 * (_WIDE - _LEFT - _RIGHT) / steps * 0.8))
    mixed = any(g in "←→↑↓" for g in glyphs)
    for t, action in enumerate(episode.actions[i][:steps]):
        glyph = glyphs[action]
        special = mixed and glyph not in "·←→↑↓"
        kind: dict[str, Any] = {"color": _RED, "fontweight": "bold"} if special else {}
        axes.text(
            t + 0.5, low - 0.6 * strip, glyph, ha="center", va="center", fontsize=size, **kind
        )
    _named(axes, f"agent {i}", "weight")
    _beside(axes, f"mean {number(sum(row) / len(row))}", y=0.7)
    _beside(axes, "action", y=0.12)


def _reward_lane(axes: Axes, rewards: Sequence[float], team_return: float) -> None:
    low, high = _limits(rewards)
    places = [t + 0.5 for t in range(len(rewards))]
    colours = [_GREEN if r >= 0 else _RED for r in rewards]
    axes.bar(places, rewards, width=0.82, color=colours)
    axes.axhline(0, linewidth=0.6, color=_line_colour(axes))
    axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    axes.set_yticks(_ticks(low, high))
    axes.yaxis.set_major_formatter(_short)
    _named(axes, "team", "reward")
    _beside(axes, f"return {number(team_return)}")


def _slice_lane(axes: Axes, trace: SliceTrace, steps: int) -> None:
    every = [v for row in trace.values for v in row[:steps]]
    low, high = min(every), max(every)
    low, high = (low, high) if high > low else (low - 1, high + 1)
    room = 0.1 * (high - low)
    ends = []
    for place, row in enumerate(trace.values):
        shown = list(row[:steps])
        colour = COLOURS[place % len(COLOURS)]
        style = LINES[place % len(LINES)]
        edges = list(range(len(shown) + 1))
        axes.step(
            edges, [*shown, shown[-1]], where="post", color=colour, linewidth=1.3, linestyle=style
        )
        ends.append((shown[-1] - low + room) / (high - low + 2 * room))
    axes.set_ylim(low - room, high + room)
    axes.set_yticks(_ticks(low, high))
    axes.yaxis.set_major_formatter(_short)
    for place, y in enumerate(_spread(ends, 0.2)):
        name = one_line(trace.columns[place], 18)
        colour = COLOURS[place % len(COLOURS)]
        more = f" (+{trace.left_out})" if trace.left_out and place == len(ends) - 1 else ""
        _beside(axes, name + more, y, colour)
    _named(axes, one_line(trace.title, 24), one_line(trace.subtitle, 24))


def _spread(places: Sequence[float], apart: float, top: float = 0.95) -> list[float]:
    """The places, moved as little as needed for neighbours to be ``apart`` below ``top``."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for before, after in itertools.pairwise(order):
        moved[after] = max(moved[after], moved[before] + apart)
    ceiling = top
    for place in reversed(order):
        moved[place] = min(moved[place], ceiling)
        ceiling = moved[place] - apart
    return moved


def _ticks(low: float, high: float) -> list[float]:
    """The ends of a scale, and 0 where it lies well inside; an end that is almost 0 is called 0."""
    low, high = (0.0 if abs(end) < 0.01 * (high - low) else end for end in (low, high))
    inside = low < 0 < high and min(-low, high) > 0.2 * (high - low)
    return sorted({low, high} | ({0.0} if inside else set()))


def _short(value: float, _: object = None) -> str:
    """A tick's number in few characters."""
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.3g}"


def _line_colour(axes: Axes) -> str:
    import matplotlib

    return str(matplotlib.rcParams["axes.edgecolor"])


def _steps_axis(axes: Axes, steps: int) -> None:
    from matplotlib.ticker import FixedLocator

    every = max(1, math.ceil(steps / 10))
    every = next((n for n in (1, 2, 5, 10, 20, 50) if n >= every), every)
    shown = list(range(0, steps, every))
    axes.xaxis.set_major_locator(FixedLocator([t + 0.5 for t in shown]))
    axes.set_xticklabels([str(t) for t in shown])
    axes.tick_params(axis="x", length=2, labelbottom=True, labelsize=7.5)
    axes.set_xlabel("step of the episode", fontsize=8.5, labelpad=2)
