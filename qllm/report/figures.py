"""Matplotlib figures as inline SVG that follows a page's colours, light or dark, and as PNG.

The SVG is read as XML and written again with known elements and attributes, and so without
metadata, comments, dates and style attributes (the page's content policy allows none). Chosen
colours become classes, so that the page's style sheet decides how they look. The same figure gives
the same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup, escape

from qllm.drafts import drafted
from qllm.text import safe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, in an order in which neighbours differ most. Line style and marker say
# the same again for readers who see no colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (7, 2, 1.2, 2)))

# Stand-ins for the page's text and grid colours; no series may use them.
_INK, _FAINT = "#010203", "#040506"
_CLASSES = {colour: str(i) for i, colour in enumerate(COLOURS)} | {_INK: "ink", _FAINT: "faint"}

# The same on white, where no page chooses.
_PNG_INK, _PNG_FAINT, _PNG_DPI = "#1c1c1c", "#8a8a8a", 150


def _style(ink: str, faint: str) -> dict[Any, Any]:
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


@contextmanager
def _styled(ink: str, faint: str, salt: str = "") -> Iterator[None]:
    import matplotlib

    with (
        matplotlib.rc_context({**_style(ink, faint), "svg.hashsalt": salt}),
        warnings.catch_warnings(),
    ):
        # A label in a script that the font lacks is drawn as boxes; the table has it in words.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def write_png(make: Callable[[], Figure], path: Path) -> None:
    """A figure as a PNG file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _styled(_PNG_INK, _PNG_FAINT), drafted(path) as draft:
        figure = make()
        figure.set_dpi(_PNG_DPI)
        with draft.open("wb") as file:
            # Matplotlib's version among the metadata would be in the way of equal bytes.
            FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})


def inline_svg(
    make: Callable[[], Figure], *, name: str, css_class: str, description: str
) -> Markup:
    """A figure as an ``<svg>`` element that a page can hold.

    Args:
        name: a plain word that no other drawing of the page has; ids start with it.
        description: what the drawing shows, for those who do not see it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.BytesIO()
    with _styled(_INK, _FAINT, name):
        figure = make()
        for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set_visible(False)
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(out.getvalue())
    body = "".join(_element(child, name) for child in root)
    return Markup(
        f'<svg class="{escape(css_class)}" viewBox="{escape(root.get("viewBox", ""))}" role="img"'
        f' aria-label="{escape(safe(description))}" stroke-linejoin="round">{body}</svg>'
    )


_HREF = "{http://www.w3.org/1999/xlink}href"
_KEPT_TAGS = frozenset("g path defs use clipPath rect".split())
_KEPT_ATTRIBUTES = frozenset(
    "d id x y width height transform clip-path fill fill-opacity opacity stroke stroke-opacity"
    " stroke-width stroke-dasharray stroke-dashoffset stroke-linejoin stroke-linecap".split()
)


def _element(node: ElementTree.Element, name: str) -> str:
    tag = node.tag.rsplit("}", 1)[-1]
    if tag not in _KEPT_TAGS:
        return ""
    inner = "".join(_element(child, name) for child in node)
    if tag in {"g", "defs"} and not inner:
        return ""
    attributes = "".join(f' {k}="{escape(v)}"' for k, v in _attributes(tag, node, name))
    if tag == "g" and not attributes:
        return inner
    return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"


def _attributes(tag: str, node: ElementTree.Element, name: str) -> Iterator[tuple[str, str]]:
    given = {key: value for key, value in node.attrib.items() if key != "style"}
    for declaration in node.get("style", "").split(";"):
        key, colon, value = declaration.partition(":")
        if colon:
            given[key.strip()] = value.strip()
    classes = []
    for key, value in given.items():
        if key == _HREF:
            yield "href", f"#{name}-{value.removeprefix('#')}"
        elif key == "id":
            # Nothing refers to a group's id.
            if tag != "g":
                yield "id", f"{name}-{value}"
        elif key in {"fill", "stroke"} and value.lower() in _CLASSES:
            classes.append(f"{key}-{_CLASSES[value.lower()]}")
        elif key in _KEPT_ATTRIBUTES:
            yield key, value.replace("url(#", f"url(#{name}-")
    if classes:
        yield "class", " ".join(classes)
