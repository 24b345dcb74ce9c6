"""Learning curves: as inline SVG that follows the page's colours, light or dark, and as PNG.

Matplotlib draws; for a page, :mod:`qllm.report.svg` keeps the shapes. The same curves give the same
bytes.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from qllm.drafts import drafted
from qllm.facts.pilots import Pilot
from qllm.report.data import Curve
from qllm.report.svg import shapes
from qllm.text import one_line
from qllm.units import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, in an order in which neighbours differ most. Line style and marker say
# the same again for readers who see no colour.
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (7, 2, 1.2, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")

# Stand-ins for the page's text and grid colours; no series may use them.
INK, FAINT = "#010203", "#040506"
CLASSES = {colour: str(i) for i, colour in enumerate(SERIES_COLOURS)}
CLASSES |= {INK: "ink", FAINT: "faint"}

# The same on white, where no page chooses.
PNG_INK, PNG_FAINT = "#1c1c1c", "#8a8a8a"

_WIDE, _NARROW = (7.6, 3.7), (4.0, 3.5)
_PNG_SIZE, PNG_DPI, _PNG_LINE = (7.6, 4.6), 150, 125
"""Inches, dots per inch, and characters in a line of small print."""


def style_of(ink: str, faint: str) -> dict[Any, Any]:
    """Matplotlib's settings for a drawing in these colours of text and grid."""
    return {
        "svg.fonttype": "path",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "axes.edgecolor": faint,
        "axes.labelcolor": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": faint,
        "ytick.color": faint,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "text.color": ink,
        "grid.color": faint,
        "grid.alpha": 0.35,
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.linewidth": 0.8,
        "legend.frameon": False,
        "figure.dpi": 72,
        "svg.id": None,
    }


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
        path: where it goes.
        title: stands above it.
        words: what line and band stand for, in small print below it.

    Raises:
        OSError: it cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.font_manager import FontProperties

    drawn = [c for c in curves if c.steps]
    with (
        matplotlib.rc_context(style_of(PNG_INK, PNG_FAINT)),
        drafted(path) as draft,
        boxes_for_missing_glyphs(),
    ):
        figure = _figure(_learning(drawn), _PNG_SIZE, x_ticks=6, legend_columns=4)
        # The legend's own title, since nothing keeps a figure's title and its legend apart.
        legend = figure.legends[0]
        legend.set_title(one_line(title, 90), FontProperties(size=11))
        legend.set_alignment("left")
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
        sentences = words.replace(". ", ".\n").splitlines()
        small = "\n".join(textwrap.fill(sentence, _PNG_LINE) for sentence in sentences)
        figure.supxlabel(small, x=0.01, ha="left", fontsize=8)
        metadata = {"Software": None}  # its version would be in the way of equal bytes
        with draft.open("wb") as file:
            figure.set_dpi(PNG_DPI)
            FigureCanvasAgg(figure).print_png(file, metadata=metadata)


def _learning(curves: Sequence[Curve]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for place, curve in enumerate(curves):
            colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
            n = len(curve.seeds)
            _line(axes, place, curve.steps, curve.centre, f"{curve.algo} ({_seeds(n)})")
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


def _seeds(n: int) -> str:
    return "1 seed" if n == 1 else f"{n} seeds"


def _line(
    axes: Axes, place: int, steps: Sequence[float], values: Sequence[float], label: str
) -> None:
    axes.plot(
        steps,
        values,
        color=SERIES_COLOURS[place % len(SERIES_COLOURS)],
        linestyle=_LINES[place % len(_LINES)],
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


@contextmanager
def boxes_for_missing_glyphs() -> Iterator[None]:
    """A label in a script that the font lacks is drawn as boxes; the table has it in words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _inline(draw: Callable[[Axes], None], description: str, *, salt: str) -> Markup:
    wide = _one(draw, _WIDE, description, f"{salt}-wide")
    return wide + _one(draw, _NARROW, description, f"{salt}-narrow")


def _one(
    draw: Callable[[Axes], None], size: tuple[float, float], description: str, name: str
) -> Markup:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    roomy = size is _WIDE
    out = io.BytesIO()
    with (
        matplotlib.rc_context({**style_of(INK, FAINT), "svg.hashsalt": name}),
        boxes_for_missing_glyphs(),
    ):
        figure = _figure(draw, size, x_ticks=6 if roomy else 4, legend_columns=4 if roomy else 2)
        figure.patch.set_visible(False)
        figure.axes[0].patch.set_visible(False)
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return shapes(
        out.getvalue(),
        name=name,
        css_class="wide" if roomy else "narrow",
        description=description,
        classes=CLASSES,
    )
