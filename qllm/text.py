"""Text that a model, a file or a foreign process wrote, made harmless to print.

A reply can carry escape sequences that move the cursor or rename the window, bidirectional
overrides that make source read differently from what runs, and characters that are not there to
the eye. Everything of that kind is shown instead of obeyed. Nothing is dropped: what was written
stays readable in the output.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

# Code points that Unicode calls default-ignorable although their category is a letter or a mark:
# fillers, variation selectors and the grapheme joiner draw nothing, and so can hide a payload.
_INVISIBLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0000, 0xE0FFF),
)

# Control, format, surrogate, private, unassigned, line separator, paragraph separator.
_SHOWN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_CONTROL_PICTURES = 0x2400
_DELETE, _DELETE_PICTURE = 0x7F, "\u2421"

# Zero-width marks stack without limit; a script needs two or three, a vandal uses hundreds.
_MOST_MARKS = 4


@lru_cache(maxsize=4096)
def _shown(char: str) -> str:
    """The visible form of one character; the character itself when it is harmless."""
    code = ord(char)
    if 0x20 <= code < _DELETE:
        return char
    if code < 0x20:
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return _DELETE_PICTURE
    if code < 0xA0:
        return f"\\x{code:02x}"
    if unicodedata.category(char) in _SHOWN_CATEGORIES:
        return f"⟨U+{code:04X}⟩"
    if any(low <= code <= high for low, high in _INVISIBLE):
        return f"⟨U+{code:04X}⟩"
    return char


def safe(text: str, *, newlines: bool = False, tabs: bool = False) -> str:
    """``text`` with every character that could act on a terminal, or hide, in a visible form.

    C0 controls become their control pictures (ESC is ``␛``), C1 controls ``\\x9b``; format
    characters, bidirectional overrides, private and unassigned code points, lone surrogates and
    invisible letters become ``⟨U+202E⟩``. Combining marks beyond four on one character are shown
    the same way. The result can always be encoded as UTF-8.

    Args:
        newlines: keep line feeds (and read CR LF as one), instead of showing them.
    """
    if text.isascii() and text.isprintable():
        return text
    if newlines:
        text = text.replace("\r\n", "\n")
    out: list[str] = []
    marks = 0
    for char in text:
        if (char == "\n" and newlines) or (char == "\t" and tabs):
            out.append(char)
            marks = 0
            continue
        marks = marks + 1 if unicodedata.combining(char) else 0
        out.append(f"⟨U+{ord(char):04X}⟩" if marks > _MOST_MARKS else _shown(char))
    return "".join(out)


def one_line(text: str, limit: int = 200) -> str:
    """``text`` as one harmless line: white space runs become one space, the rest is cut with "…".

    Args:
        limit: most characters of the result, at least 1.
    """
    # The first cut comes before the escape, so that a megabyte of controls costs nothing.
    head = text[: 4 * limit + 64]
    line = safe(" ".join(head.split()))
    if len(line) <= limit and len(head) == len(text):
        return line
    return line[: limit - 1] + "…"


def rich_text(text: str, style: str = "", *, newlines: bool = False) -> Text:
    """``text`` for a rich console: made safe, and never read as markup (``[red]`` stays text)."""
    from rich.text import Text

    return Text(safe(text, newlines=newlines, tabs=False), style=style)


def indented(text: str) -> str:
    """All lines but the first indented, so that none passes for another message."""
    return text.replace("\n", "\n  ")


def choice_word(decided: bool) -> str:
    """Word for a search's choice: it is selected where the pilots tell it apart."""
    return "selected" if decided else "taken (undecided)"
