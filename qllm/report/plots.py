"""Learning curves, drawn for a page and as PNG."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from qllm.facts.curves import Curve
from qllm.facts.pilots import Pilot
from qllm.report.figures import COLOURS, LINES, inline_svg, write_png
from qllm.text import one_line
from qllm.units import count, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDE, _NARROW, _PNG = (7.6, 3.7), (4.0, 3.5), (7.6, 4.6)
"""Inches."""
_PNG_LINE = 125
"""Characters in a line of small print."""


def learning_curves(curves: Sequence[Curve], salt: str = "curves") -> Markup:
    """Team return against environment steps: a line per algorithm, a band for its interval.

    Two drawings, of which the page shows the one that fits its width. Empty without curves. The
    drawings of a page differ in ``salt``.
    """
    drawn = [c for c in curves if c.steps]
    if not drawn:
        return Markup("")
    words = "; ".join(
        f"{c.algo} ends at {c.centre[-1]:.{2 if c.quantity else 1}f} after {c.steps[-1]:,} steps"
        for c in drawn
    )
    what = drawn[0].quantity
    said = f"Learning curves{' of ' + what if what else ''}: {words}."
    return _inline(_learning(drawn), said, salt=salt)


def draw_learning_curves(curves: Sequence[Curve], path: Path, *, title: str, words: str) -> None:
    """The drawing of `learning_curves` as a PNG file, whole or not at all.

    Args:
        curves: one at least.
        words: what line and band stand for, in small print below it.

    Raises:
        OSError: it cannot be written.
    """
    write_png(lambda: _with_words([c for c in curves if c.steps], title, words), path)


def _with_words(curves: Sequence[Curve], title: str, words: str) -> Figure:
    from matplotlib.font_manager import FontProperties

    figure = _figure(_learning(curves), _PNG, x_ticks=6, legend_columns=4)
    # The legend's own title, since nothing keeps a figure's title and its legend apart.
    legend = figure.legends[0]
    legend.set_title(one_line(title, 90), FontProperties(size=11))
    legend.set_alignment("left")
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    sentences = words.replace(". ", ".\n").splitlines()
    small = "\n".join(textwrap.fill(sentence, _PNG_LINE) for sentence in sentences)
    figure.supxlabel(small, x=0.01, ha="left", fontsize=8)
    return figure


def _learning(curves: Sequence[Curve]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for place, curve in enumerate(curves):
            colour = COLOURS[place % len(COLOURS)]
            label = f"{curve.algo} ({plural(len(curve.seeds), 'seed')})"
            _line(axes, place, curve.steps, curve.centre, label)
            if curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.steps, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0
                )
        if curves[0].quantity:
            axes.set_ylabel(f"{one_line(curves[0].quantity, 40)} (mean over episodes)")

    return draw


def pilot_curves(pilots: Sequence[Pilot]) -> Markup:
    """Mean return of the pilot trainings against environment steps, a line per candidate."""
    drawn = [p for p in pilots if p.curve]
    if not drawn:
        return Markup("")

    def draw(axes: Axes) -> None:
        for place, pilot in enumerate(drawn):
            steps, returns = zip(*pilot.curve, strict=True)
            _line(axes, place, steps, returns, pilot.name)

    names = ", ".join(one_line(p.name, 40) for p in drawn)
    return _inline(draw, f"Learning curves of the pilot trainings of {names}.", salt="pilots")


def _line(
    axes: Axes, place: int, steps: Sequence[float], values: Sequence[float], label: str
) -> None:
    axes.plot(
        steps,
        values,
        color=COLOURS[place % len(COLOURS)],
        linestyle=LINES[place % len(LINES)],
        linewidth=1.7,
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=4,
        markevery=max(1, math.ceil(len(steps) / 12)),
        label=one_line(label, 40),
    )


def _figure(
    draw: Callable[[Axes], None], size: tuple[float, float], *, x_ticks: int, legend_columns: int
) -> Figure:
    """The drawing of any curves, in the colours of the current rc context."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel("environment steps")
    axes.set_ylabel("team return (reward per episode)")
    draw(axes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=x_ticks))
    axes.margins(x=0.02)
    series = len(axes.get_legend_handles_labels()[1])
    figure.legend(loc="outside upper left", ncols=max(1, min(series, legend_columns)))
    return figure


def _inline(draw: Callable[[Axes], None], description: str, *, salt: str) -> Markup:
    """Two drawings, of which the page shows the one that fits its width."""
    return Markup("").join(
        inline_svg(
            lambda size=size, ticks=ticks, columns=columns: _figure(  # type: ignore[misc]
                draw, size, x_ticks=ticks, legend_columns=columns
            ),
            name=f"{salt}-{css_class}",
            css_class=css_class,
            description=description,
        )
        for css_class, size, ticks, columns in (("wide", _WIDE, 6, 4), ("narrow", _NARROW, 4, 2))
    )
