"""Learning curves as inline SVG that follows the page's colours, light or dark.

Matplotlib draws and :mod:`qllm.report.svg` keeps the shapes. The same curves give the same bytes.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from qllm.report.data import Curve, PilotCurve
from qllm.report.svg import shapes
from qllm.text import one_line
from qllm.units import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, in an order in which neighbours differ most. Line style and marker say
# the same again for readers who see no colour.
SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (7, 2, 1.2, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")

# Stand-ins for the page's text and grid colours; no series may use them.
_INK, _FAINT = "#010203", "#040506"
_CLASSES = {colour: str(i) for i, colour in enumerate(SERIES_COLOURS)}
_CLASSES |= {_INK: "ink", _FAINT: "faint"}

_WIDE, _NARROW = (7.6, 3.7), (4.0, 3.5)

_RC: dict[Any, Any] = {
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "text.color": _INK,
    "grid.color": _FAINT,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.dpi": 72,
    "svg.id": None,
}


def learning_curves(curves: Sequence[Curve]) -> Markup:
    """Team return against environment steps: a line per algorithm, a band for its interval.

    Two drawings, of which the page shows the one that fits its width. Empty without curves.
    """
    drawn = [c for c in curves if c.steps]
    if not drawn:
        return Markup("")

    def draw(axes: Axes) -> None:
        for place, curve in enumerate(drawn):
            colour = SERIES_COLOURS[place % len(SERIES_COLOURS)]
            n = len(curve.seeds)
            _line(axes, place, curve.steps, curve.centre, f"{curve.algo} ({_seeds(n)})")
            if curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.steps, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0
                )

    words = "; ".join(
        f"{c.algo} ends at {c.centre[-1]:.1f} after {c.steps[-1]:,} steps" for c in drawn
    )
    return _figure(draw, f"Learning curves: {words}.", salt="curves")


def pilot_curves(curves: Sequence[PilotCurve]) -> Markup:
    """Mean return of the pilot trainings against environment steps, a line per candidate."""
    drawn = [c for c in curves if c.points]
    if not drawn:
        return Markup("")

    def draw(axes: Axes) -> None:
        for place, curve in enumerate(drawn):
            steps, returns = zip(*curve.points, strict=True)
            _line(axes, place, steps, returns, curve.label)

    names = ", ".join(one_line(c.label, 40) for c in drawn)
    return _figure(draw, f"Learning curves of the pilot trainings of {names}.", salt="pilots")


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


def _figure(draw: Callable[[Axes], None], description: str, *, salt: str) -> Markup:
    wide = _one(draw, _WIDE, description, f"{salt}-wide")
    return wide + _one(draw, _NARROW, description, f"{salt}-narrow")


def _one(
    draw: Callable[[Axes], None], size: tuple[float, float], description: str, name: str
) -> Markup:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with matplotlib.rc_context({**_RC, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("team return (reward per episode)")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: count(x)))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if size is _WIDE else 4))
        axes.margins(x=0.02)
        series = len(axes.get_legend_handles_labels()[1])
        figure.legend(
            loc="outside upper left", ncols=max(1, min(series, 4 if size is _WIDE else 2))
        )
        out = io.BytesIO()
        with warnings.catch_warnings():
            # A label in a script that the font lacks is drawn as boxes; the table has it in words.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return shapes(
        out.getvalue(),
        name=name,
        css_class="wide" if size is _WIDE else "narrow",
        description=description,
        classes=_CLASSES,
    )
