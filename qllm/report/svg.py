"""Matplotlib's SVG as inline SVG: shapes only.

The drawing is read as XML and written again with known elements and attributes, and so without
metadata, comments, dates and style attributes (the page's content policy allows none). Chosen
colours become classes, so that the page's style sheet decides how they look, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from markupsafe import Markup, escape

from qllm.text import safe

_HREF = "{http://www.w3.org/1999/xlink}href"
_KEPT_TAGS = frozenset({"g", "path", "defs", "use", "clipPath", "rect"})
_KEPT_ATTRIBUTES = frozenset({"d", "id", "x", "y", "width", "height", "transform", "clip-path"})
_KEPT_ATTRIBUTES |= {"fill", "fill-opacity", "opacity", "stroke", "stroke-opacity", "stroke-width"}
_KEPT_ATTRIBUTES |= {"stroke-dashoffset"}
_KEPT_ATTRIBUTES |= {
    f"stroke-{what}" for what in ("dasharray", "dashoffset", "linejoin", "linecap")
}


def shapes(
    svg: bytes, *, name: str, css_class: str, description: str, classes: Mapping[str, str]
) -> Markup:
    """The drawing as an ``<svg>`` element that a page can hold.

    Args:
        svg: a whole SVG document, as matplotlib writes it.
        name: a plain word that no other drawing of the page has; ids start with it.
        css_class: class of the element.
        description: what the drawing shows, for those who do not see it.
        classes: colour (``#rrggbb``, lower case) to the class that replaces it; a fill becomes
            ``fill-<class>``, a stroke ``stroke-<class>``.
    """
    root = ElementTree.fromstring(svg)
    writer = _Writer(name, classes)
    body = "".join(writer.element(child) for child in root)
    return Markup(
        f'<svg class="{escape(css_class)}" viewBox="{escape(root.get("viewBox", ""))}" role="img"'
        f' aria-label="{escape(safe(description))}" stroke-linejoin="round">{body}</svg>'
    )


class _Writer:
    def __init__(self, name: str, classes: Mapping[str, str]) -> None:
        self._name, self._classes = name, classes

    def element(self, node: ElementTree.Element) -> str:
        tag = node.tag.rsplit("}", 1)[-1]
        if tag not in _KEPT_TAGS:
            return ""
        inner = "".join(self.element(child) for child in node)
        if tag in {"g", "defs"} and not inner:
            return ""
        attributes = "".join(f' {k}="{escape(v)}"' for k, v in self._attributes(tag, node))
        if tag == "g" and not attributes:
            return inner
        return f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"

    def _attributes(self, tag: str, node: ElementTree.Element) -> Iterator[tuple[str, str]]:
        given = {key: value for key, value in node.attrib.items() if key != "style"}
        for declaration in node.get("style", "").split(";"):
            key, colon, value = declaration.partition(":")
            if colon:
                given[key.strip()] = value.strip()
        names = []
        for key, value in given.items():
            if key == _HREF:
                yield "href", f"#{self._name}-{value.removeprefix('#')}"
            elif key == "id":
                # Nothing refers to a group's id.
                if tag != "g":
                    yield "id", f"{self._name}-{value}"
            elif key in {"fill", "stroke"} and value.lower() in self._classes:
                names.append(f"{key}-{self._classes[value.lower()]}")
            elif key in _KEPT_ATTRIBUTES:
                yield key, value.replace("url(#", f"url(#{self._name}-")
        if names:
            yield "class", " ".join(names)
