"""What a model or a file wrote must not act on a terminal, nor hide in it."""

from __future__ import annotations

import io
import sys
import unicodedata

import pytest
from rich.console import Console

from qllm.text import one_line, rich_text, safe


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[H", "␛[2J␛[H"),  # clears the screen
        ("\x1b]0;owned\x07", "␛]0;owned␇"),  # renames the window
        ("\x1b]52;c;ZXZpbA==\x07", "␛]52;c;ZXZpbA==␇"),  # writes the clipboard
        ("\x1b]8;;file:///etc\x1b\\x", "␛]8;;file:///etc␛\\x"),  # a link
        ("\x9b31m\x90q\x9c", "\\x9b31m\\x90q\\x9c"),  # the same in C1 controls
        ("done\rrejected", "done␍rejected"),
        ("a\x08\x08b\x00\x7f", "a␈␈b␀␡"),
        ("a\u202etxt.exe\u202c", "a⟨U+202E⟩txt.exe⟨U+202C⟩"),
        ("\u2066x\u2069\u200f", "⟨U+2066⟩x⟨U+2069⟩⟨U+200F⟩"),
        ("pass\u200bword\ufeff\u2060\u00ad", "pass⟨U+200B⟩word⟨U+FEFF⟩⟨U+2060⟩⟨U+00AD⟩"),
        ("\ud800x\udfff", "⟨U+D800⟩x⟨U+DFFF⟩"),
        ("\U000e0041\U000e007f", "⟨U+E0041⟩⟨U+E007F⟩"),  # text in invisible tags
        ("a\ufe0fb\u3164c\u2800", "a⟨U+FE0F⟩b⟨U+3164⟩c⟨U+2800⟩"),
        ("a\u2028b\u2029c\x85d", "a⟨U+2028⟩b⟨U+2029⟩c\\x85d"),
        ("\ue000\U0010ffff", "⟨U+E000⟩⟨U+10FFFF⟩"),
        ("a\nb\tc", "a␊b␉c"),
    ],
)
def test_what_would_act_is_shown(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


def test_no_character_of_unicode_acts_or_hides() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    for char in set(safe(everything)):
        assert unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}, hex(
            ord(char)
        )


def test_ordinary_writing_in_any_script_is_left_alone() -> None:
    for text in (
        "plain",
        "naïve café",
        "Ελληνικά",
        "漢字かな",
        "עברית",
        "हिन्दी",
        "😀 ≥ → ∑",
        "e\u0301",
    ):
        assert safe(text) == text


def test_lines_and_tabs_are_kept_where_asked() -> None:
    assert safe("a\r\nb\n\tc", newlines=True, tabs=True) == "a\nb\n\tc"
    assert safe("a\rb\n", newlines=True) == "a␍b\n"
    assert safe("a\tb", newlines=True) == "a␉b"


def test_towers_of_combining_marks_are_cut_down() -> None:
    shown = safe("Z" + "\u0301" * 50)
    assert shown.count("\u0301") == 4
    assert shown.count("⟨U+0301⟩") == 46


def test_the_result_is_always_encodable_and_making_it_safe_again_changes_nothing() -> None:
    text = "".join(map(chr, [*range(0x300), 0xD800, 0xDFFF, 0x202E, 0x1F600, 0x10FFFF]))
    once = safe(text, newlines=True, tabs=True)
    once.encode("utf-8")
    assert safe(once, newlines=True, tabs=True) == once


def test_one_line_is_one_line_of_bounded_length() -> None:
    assert one_line("a\n  b\t\tc") == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert one_line(" " * 10_000 + "hidden", 20) == "…"
    assert len(one_line("\u202e" * 1_000_000, 40)) == 40


def test_rich_markup_in_foreign_text_stays_text() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="truecolor", width=80)
    console.print(rich_text("[bold red]x[/] [link=file:///etc]y[/link] \x1b[31mz :smile:"))
    assert out.getvalue() == "[bold red]x[/] [link=file:///etc]y[/link] ␛[31mz :smile:\n"
