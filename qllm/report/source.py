"""Python source as highlighted HTML. The source is a model's, so it is data like any other."""

from __future__ import annotations

from markupsafe import Markup, escape

from qllm.text import safe

_MOST_HIGHLIGHTED = 60_000
"""Characters; longer text is shown plainly, since highlighting it would cost seconds."""


def highlighted(code: str) -> Markup:
    """``code`` in spans of Pygments' short classes, characters that hide or act made visible."""
    shown = safe(code, newlines=True, tabs=True).strip("\n")
    if len(shown) > _MOST_HIGHLIGHTED:
        return escape(shown)
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(shown, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)))
