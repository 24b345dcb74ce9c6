"""The library's plot, for any terminal and without keys of its own."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid
from textual.strip import Strip
from textual_hires_canvas import Canvas
from textual_plot import PlotWidget
from textual_plot.plot_widget import Legend


class _Canvas(Canvas):
    """A canvas whose every line has a style, as terminals without colours ask for."""

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
