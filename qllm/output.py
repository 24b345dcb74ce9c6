"""All printing on stdout and stderr goes through here, so that no foreign text acts on a terminal.

Text from the store, a card, a file or a model is shown, never obeyed, and a line stays one line, so
that no text can pass for another.
"""

from __future__ import annotations

import codecs
import io
import sys

from qllm.text import safe

MARKS = {
    "✓": "+", "✗": "x", "–": "-", "—": "-", "−": "-", "─": "-", "…": "...", "·": "*", "∞": "inf",
    "±": "+-", "≤": "<=", "≥": ">=", "×": "x", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
"""Substitutes for our own marks where an encoding lacks them."""

REPLACED = "qllm.replaced"
"""Error handler of codecs: our marks in ASCII, ``?`` for any other character."""


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(MARKS.get(char) or _plain(char) for char in lacking), error.end


def _plain(char: str) -> str:
    lines = "\u2500" <= char < "\u2580"  # what boxes and tables are drawn with
    return ("|" if char in "│┃╎╏┆┇┊┋║" else "+") if lines else "?"


codecs.register_error(REPLACED, _replaced)


def print_in_any_encoding() -> None:
    """Let stdout and stderr replace characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=REPLACED)


def echo(*lines: object, err: bool = False) -> None:
    """Print each of ``lines`` as one line, and an empty one where there are none."""
    for line in lines or ("",):
        print(safe(str(line)), file=sys.stderr if err else sys.stdout)


def echo_text(text: str) -> None:
    """Print text of several lines, with its tabs."""
    print(safe(text, newlines=True, tabs=True))
