"""Weights of a credit function over an episode that can be stepped through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static
from textual_plot import HiResMode

from qllm.report.episode import CreditEpisode, SliceTrace
from qllm.text import one_line, safe
from qllm.tui.widgets.chart import Plot
from qllm.units import number

_COLOURS = ("cyan", "magenta", "yellow", "green", "red", "blue", "white", "bright_black")
_LINES = len(_COLOURS)
"""Agents whose weights are drawn; all of them are in the list beside."""
_BAR = 12
_MARKS = "0123456789"
"""Marks on the lines, so that agents differ without colours."""
_APART = 6
"""Columns of the plot from one agent's mark to the next one's."""


class EpisodeView(Widget, can_focus=True):
    """A plot with a cursor, and the events of its step."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "step back"),
        Binding("right", "step(1)", "step on"),
        Binding("shift+left", "step(-10)", "10 back", show=False),
        Binding("shift+right", "step(10)", "10 on", show=False),
        Binding("home", "step(-1000000)", "first step", show=False),
        Binding("end", "step(1000000)", "last step", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.episode: CreditEpisode | None = None
        self.at = 0
        """The step in sight, from 0."""

    def compose(self) -> ComposeResult:
        yield Static(id="episode-notice", markup=False)
        with Container(id="episode-body"):
            plot = Plot(id="weights", allow_pan_and_zoom=False)
            plot.can_focus = False
            plot.set_reactive(Plot.margin_top, 1)
            plot.set_reactive(Plot.margin_left, 8)
            yield plot
            with VerticalScroll(id="step", can_focus=False):
                yield Static(id="step-text", markup=False)

    def on_mount(self) -> None:
        self.query_one("#episode-body").display = False

    def say(self, words: str) -> None:
        """Say why there is no episode."""
        self.query_one("#episode-body").display = False
        notice = self.query_one("#episode-notice", Static)
        notice.display = True
        notice.update(Text(safe(words), "dim"))

    def show(self, episode: CreditEpisode) -> None:
        """Show an episode from its first step."""
        if episode == self.episode:
            return
        self.episode, self.at = episode, 0
        self.query_one("#episode-notice").display = False
        self.query_one("#episode-body").display = True
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        """Fit the plot to the terminal; a short one has none."""
        self.call_after_refresh(self._draw)

    def action_step(self, steps: int) -> None:
        if self.episode is None or not self.episode.steps:
            return
        at = min(max(self.at + steps, 0), self.episode.steps - 1)
        if at != self.at:
            self.at = at
            self._draw()

    def _draw(self) -> None:
        episode = self.episode
        if episode is None or not episode.steps:
            return
        self.query_one("#step-text", Static).update(step_text(episode, self.at))
        plot = self.query_one("#weights", Plot)
        if not plot.display:
            return
        plot.clear()
        steps = list(range(1, episode.steps + 1))
        drawn = episode.weights[:_LINES]
        for agent, weights in enumerate(drawn):
            plot.plot(
                steps,
                [w if math.isfinite(w) else 0.0 for w in weights],
                line_style=_COLOURS[agent],
                hires_mode=HiResMode.BRAILLE,
            )
        room = max(1, plot.size.width - plot.margin_left)
        for agent, places in enumerate(marks(len(drawn), episode.steps, room)):
            places = [*places, apart(drawn, agent)]
            known = [(at, drawn[agent][at]) for at in places if math.isfinite(drawn[agent][at])]
            plot.scatter(
                [at + 1 for at, _ in known],
                [weight for _, weight in known],
                marker=_MARKS[agent],
                marker_style=f"bold {_COLOURS[agent]}",
            )
        plot.add_v_line(self.at + 1, "bold")
        low, high = _ends(episode)
        plot.set_xlimits(1, max(2, episode.steps))
        plot.set_ylimits(low, high)
        plot.set_xlabel("step; digits on the lines are the agents")


def marks(agents: int, steps: int, width: int) -> list[list[int]]:
    """At which steps each agent's mark stands on its line, never two agents' at the same step.

    Args:
        width: columns of the plot.
    """
    every = max(1, min(math.ceil(steps * _APART / width), steps // agents))
    starts = [min(every * agent, steps - 1) for agent in range(agents)]
    return [list(range(start, steps, every * agents)) for start in starts]


def apart(weights: Sequence[Sequence[float]], agent: int) -> int:
    """The step at which an agent's weight is furthest from the mean of all agents' weights."""

    def distance(at: int) -> float:
        far = abs(weights[agent][at] - sum(own[at] for own in weights) / len(weights))
        return far if math.isfinite(far) else -1.0

    return max(range(len(weights[agent])), key=distance)


def _ends(episode: CreditEpisode) -> tuple[float, float]:
    """Of the weights' axis, with zero in sight and room above."""
    finite = [w for row in episode.weights for w in row if math.isfinite(w)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    room = 0.15 * ((high - low) or 1.0)
    return (low - room if low < 0 else 0.0), high + room


def step_text(episode: CreditEpisode, at: int) -> Text:
    """Events of a step: actions, weights and values of the agents, reward, state."""
    text = Text()
    text.append(f"step {at + 1} of {episode.steps}", "bold")
    text.append(f"   reward {number(episode.rewards[at])}")
    so_far = sum(episode.rewards[: at + 1])
    text.append("\n")
    text.append(f"return so far {number(so_far)} of {number(episode.team_return)}\n")
    names = [one_line(name, 14) for name in episode.action_names]
    wide = max([6, *map(len, names)])
    text.append(f"\n{'agent':<7}{'action':<{wide + 2}}{'weight':>8}  {'':<{_BAR}}{'Q':>8}\n", "dim")
    most = max([abs(w) for row in episode.weights for w in row if math.isfinite(w)] or [1.0])
    for agent, weights in enumerate(episode.weights):
        action, weight = episode.actions[agent][at], weights[at]
        name = names[action] if 0 <= action < len(names) else str(action)
        colour = _COLOURS[agent] if agent < _LINES else ""
        text.append(f"{agent:<7}", f"bold {colour}")
        text.append(f"{name:<{wide + 2}}{number(weight):>8}  ")
        text.append(f"{_bar(weight, most):<{_BAR}}", colour)
        text.append(f"{number(episode.agent_qs[agent][at]):>8}\n")
    for trace in episode.slices:
        _slice(text, trace, at)
    if not episode.slices:
        text.append("\nNothing in the state was seen to move the weights.\n", "dim")
    text.append(f"\n{safe(episode.policy)}", "dim")
    if not episode.linear_in_q:
        text.append("\nThe weights depend on the agents' values, too.", "dim")
    return text


def _bar(weight: float, most: float) -> str:
    if not math.isfinite(weight) or most <= 0:
        return ""
    sign = "▒" if weight < 0 else "█"
    return sign * round(abs(weight) / most * (_BAR - 1))


def _slice(text: Text, trace: SliceTrace, at: int) -> None:
    text.append(f"\nstate {safe(trace.name)}", "bold")
    text.append(f"   moves the weights by {number(trace.influence)}\n", "dim")
    for column, values in zip(trace.columns, trace.values, strict=True):
        before = values[at - 1] if at else values[at]
        changed = " ◂" if values[at] != before else ""
        text.append(f"  {safe(column):<12}", "dim")
        text.append(f"{values[at]:>8.4g}{changed}\n", "bold" if changed else "")
    if trace.left_out:
        text.append(f"  and {trace.left_out} columns that matter less\n", "dim")
