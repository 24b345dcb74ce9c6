"""Python source on the screen, untrusted, as models write it."""

from __future__ import annotations

import difflib
from functools import lru_cache

from textual.content import Content
from textual.highlight import highlight

from qllm.text import safe

_MOST_HIGHLIGHTED = 20_000
"""Characters; longer text is shown plainly, since highlighting it would hold the screen up."""

_MOST_SHOWN = 60_000
"""Characters; of longer text the beginning and the end are shown."""


def shown(text: str) -> str:
    """A text with lines, harmless and of bearable length."""
    if len(text) > _MOST_SHOWN:
        half, left_out = _MOST_SHOWN // 2, len(text) - _MOST_SHOWN
        middle = f"\n… {left_out:,} characters are not shown here …\n"
        text = text[:half] + middle + text[-half:]
    return safe(text.expandtabs(4), newlines=True)


@lru_cache(maxsize=64)
def coloured(code: str, language: str = "python") -> Content:
    """Source with its syntax in the theme's colours."""
    text = shown(code).strip("\n")
    return Content(text) if len(text) > _MOST_HIGHLIGHTED else highlight(text, language=language)


@lru_cache(maxsize=64)
def numbered(code: str) -> Content:
    """Python source with its syntax coloured and a number before every line."""
    lines = coloured(code).split("\n", allow_blank=True)
    width = len(str(len(lines)))
    parts = [
        Content.assemble((f"{number:>{width}} ", "dim"), line)
        for number, line in enumerate(lines, 1)
    ]
    return Content("\n").join(parts)


def with_code(reply: str) -> Content:
    """A model's reply whose fenced blocks are coloured as Python; nothing else is interpreted."""
    pieces = shown(reply).split("```")
    parts: list[Content] = []
    for at, piece in enumerate(pieces):
        if at:
            parts.append(Content.styled("```", "dim"))
        if at % 2 and "\n" in piece:
            language, _, code = piece.partition("\n")
            parts += [Content.styled(language, "dim"), Content("\n"), coloured(code), Content("\n")]
        else:
            parts.append(Content(piece))
    return Content("").join(parts)


_SIGNS = {"+": "$text-success", "-": "$text-error", "@": "$text-accent"}


@lru_cache(maxsize=64)
def difference(old: str, new: str, old_name: str, new_name: str) -> Content:
    """A unified diff between two sources; the first character of a line marks its change."""
    rows = list(
        difflib.unified_diff(
            shown(old).splitlines(),
            shown(new).splitlines(),
            old_name,
            new_name,
            lineterm="",
            n=4,
        )
    )
    if not rows:
        return Content(f"{old_name} and {new_name} have the same source.")
    parts = []
    for at, row in enumerate(rows):
        style = "bold" if at < 2 else _SIGNS.get(row[:1], "")
        parts.append(Content.styled(row, style) if style else Content(row))
    return Content("\n").join(parts)
