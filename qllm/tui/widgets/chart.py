"""Curves with their intervals, drawn with dots of a terminal's characters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical
from textual.events import Resize
from textual.strip import Strip
from textual.widgets import Static
from textual_hires_canvas import Canvas
from textual_plot import HiResMode, NumericAxisFormatter, PlotWidget
from textual_plot.plot_widget import Legend

from qllm.text import safe
from qllm.units import number

COLOURS = ("#4fc1ff", "#ffb454", "#7fd962", "#f07178", "#d2a6ff", "#59d6c8", "#e6c547", "#b0b0b0")
"""Of the curves in turn; every curve has a letter as well, at its end and in the legend."""

_SHORT = 12
"""Lines of height below which the axis titles are left out."""


@dataclass(frozen=True)
class Line:
    """One curve. All series have the same length; ``low`` and ``high`` may be empty."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def smoothed(values: Sequence[float], weight: float) -> tuple[float, ...]:
    """The exponential moving average, corrected for its initial value.

    Args:
        weight: of what was before, 0 (no smoothing) to below 1.
    """
    if not weight:
        return tuple(values)
    out: list[float] = []
    average, seen = 0.0, 0.0
    for value in values:
        average = weight * average + (1 - weight) * value
        seen = weight * seen + (1 - weight)
        out.append(average / seen)
    return tuple(out)


def smoothed_line(line: Line, weight: float) -> Line:
    """A curve and the ends of its intervals, all smoothed alike."""
    parts = (smoothed(part, weight) for part in (line.y, line.low, line.high))
    return Line(line.label, line.x, *parts)


class _Canvas(Canvas):
    """A canvas whose lines all have a style, as terminals without colours need."""

    def render_line(self, y: int) -> Strip:
        """One line; a blank one where nothing has been drawn yet."""
        strip: Strip = super().render_line(y)
        return strip if strip.cell_length else Strip.blank(self.size.width, self.rich_style)

    def on_resize(self) -> None:
        """Have the plot drawn again: it may have been drawn before this size was known."""
        for plot in self.ancestors:
            if isinstance(plot, Plot):
                plot.fit()


class Plot(PlotWidget, can_focus=False, inherit_bindings=False):
    """A plot without keys of its own: the screen's are the same wherever the focus is."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def compose(self) -> ComposeResult:
        """The parts that the library's plot draws into."""
        with Grid():
            for part in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield _Canvas(1, 1, id=part)
        yield Legend(id="legend")

    def fit(self) -> None:
        """Draw again at the canvases' sizes."""
        self._needs_canvas_resize = True
        self._rerender()


class _Axis(NumericAxisFormatter):
    """Tick labels in the house's way of writing numbers."""

    def __init__(self, write: Callable[[float | None], str]) -> None:
        self._write = write

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """Short numbers; more digits where two ticks would read the same."""
        labels = [self._write(tick) for tick in ticks]
        if len(set(labels)) == len(labels):
            return labels
        plain: list[str] = super().get_labels_for_ticks(ticks)
        return plain


class Chart(Vertical):
    """Curves, a legend above them, and keys of the screen to look closer."""

    DEFAULT_CSS = """
    Chart { height: 1fr; }
    Chart > #legend-line { height: 1; padding: 0 1; }
    Chart > #nothing { height: 1; padding: 0 1; color: $text-muted; }
    Chart > Plot { height: 1fr; }
    Chart > Plot > .plot--axis { color: $foreground-darken-3; }
    Chart > Plot > .plot--tick { color: $text-muted; text-style: none; }
    Chart > Plot > .plot--label { color: $text-muted; text-style: none; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's own name)
        super().__init__(id=id)
        self._lines: tuple[Line, ...] | None = None
        self._titles = ("", "")
        self._limits: tuple[float | None, float | None] = (None, None)

    def compose(self) -> ComposeResult:
        yield Static(id="legend-line", markup=False)
        yield Plot()
        yield Static(id="nothing", markup=False)

    @property
    def plot(self) -> PlotWidget:
        return self.query_one(Plot)

    def draw(
        self,
        lines: Sequence[Line],
        x_title: str,
        y_title: str,
        *,
        write_x: Callable[[float | None], str] = number,
        nothing: str = "nothing to draw yet",
        values: bool = True,
    ) -> None:
        """Show these curves; nothing is drawn again where nothing changed.

        Args:
            nothing: said where no curve has a point.
            values: whether the legend has the curves' last values.
        """
        drawn = tuple(line for line in lines if line.x)
        titles = (x_title, y_title)
        if drawn == self._lines and titles == self._titles:
            return
        if titles != self._titles:
            self.reset()
        self._lines, self._titles = drawn, titles
        self.query_one("#nothing", Static).update(Text(nothing))
        self.query_one("#nothing").display = not drawn
        legend = self.query_one("#legend-line", Static)
        legend.display = bool(drawn)
        legend.update(self._legend(drawn, values))
        plot = self.plot
        plot.set_x_formatter(_Axis(write_x))
        plot.set_y_formatter(_Axis(number))
        plot.set_xlabel(x_title)
        plot.set_ylabel(y_title)
        plot.clear()
        for at, line in enumerate(drawn):
            if line.low and line.low != line.high:
                self._band(line, COLOURS[at % len(COLOURS)])
        for at, line in enumerate(drawn):
            colour = COLOURS[at % len(COLOURS)]
            plot.plot(line.x, line.y, line_style=colour, hires_mode=HiResMode.BRAILLE)
        for at, (x, y) in enumerate(letter_places(drawn)):
            style = f"bold {COLOURS[at % len(COLOURS)]}"
            plot.scatter([x], [y], marker=letter(at), marker_style=style)
        self._limits = limits(
            [v for line in drawn for part in (line.y, line.low, line.high) for v in part]
        )
        plot.set_ylimits(*self._limits)

    def _band(self, line: Line, colour: str) -> None:
        style = f"dim {colour}"
        for edge in (line.low, line.high):
            self.plot.plot(line.x, edge, line_style=style, hires_mode=HiResMode.BRAILLE)

    def _legend(self, lines: Sequence[Line], values: bool) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"{self._titles[1]}   ", style="dim")
        for at, line in enumerate(lines):
            text.append(f"{letter(at)} ", style=f"bold {COLOURS[at % len(COLOURS)]}")
            text.append(safe(line.label))
            if values:
                text.append(f" {number(line.y[-1])}")
            if values and line.low and line.low != line.high:
                text.append(f" [{number(line.low[-1])}, {number(line.high[-1])}]", style="dim")
            text.append("   ")
        return text

    # -- looking closer --------------------------------------------------------------------

    def zoom(self, closer: bool) -> None:
        """Half or twice of the x axis around its middle."""
        (self.plot.action_zoom_x_in if closer else self.plot.action_zoom_x_out)()

    def pan(self, right: bool) -> None:
        (self.plot.action_pan_right if right else self.plot.action_pan_left)()

    def reset(self) -> None:
        self.plot.set_xlimits(None, None)
        self.plot.set_ylimits(*self._limits)

    def on_mount(self) -> None:
        """The plot has no legend of its own, and its title stands in the legend."""
        plot = self.plot
        plot.margin_top, plot.margin_left = 0, 9
        self.query_one("#legend-line").display = False

    def on_resize(self, event: Resize) -> None:
        self.plot.margin_bottom = 1 if event.size.height < _SHORT else 3


def letter(at: int) -> str:
    """What a curve is called, by its place."""
    return chr(ord("a") + at % 26)


def limits(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Ends of an axis: the ticks around all values, or a little more where one lies on a tick."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None, None
    low, high = min(known), max(known)
    if low == high:
        room = 0.1 * abs(low) or 1.0
        return low - room, high + room
    room = 0.03 * (high - low)
    ticks = NumericAxisFormatter().get_ticks(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else room
    return (
        min(low - room, math.floor(low / step) * step),
        max(high + room, math.ceil(high / step) * step),
    )


def letter_places(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """Places of the curves' letters: at their ends, beside each other where ends meet."""
    values = [y for line in lines for y in line.y if math.isfinite(y)]
    apart = 0.06 * (max(values) - min(values)) if values else 0.0
    places: list[tuple[float, float]] = []
    for at, line in enumerate(lines):
        meeting = sum(
            abs(other.y[-1] - line.y[-1]) <= apart and other.x[-1] == line.x[-1]
            for other in lines[:at]
        )
        x = line.x[-1] - (line.x[-1] - line.x[0]) * min(0.9, 0.02 + 0.05 * meeting)
        places.append((x, _at(line, x) if meeting else line.y[-1]))
    return places


def _at(line: Line, x: float) -> float:
    """The curve's value between two of its points."""
    after = min(max(1, bisect_left(line.x, x)), len(line.x) - 1)
    before = after - 1 if after else 0
    width = line.x[after] - line.x[before]
    share = (x - line.x[before]) / width if width else 0.0
    return line.y[before] + share * (line.y[after] - line.y[before])
