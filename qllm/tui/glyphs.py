"""States as a glyph and a word, never by colour alone."""

from __future__ import annotations

from rich.text import Text

_STATUS = {
    "queued": ("◌", "dim"),
    "running": ("▶", "green"),
    "paused": ("⏸", "yellow"),
    "finished": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "died": ("†", "red"),
}


def status_text(status: str) -> Text:
    """A run's status."""
    glyph, style = _STATUS.get(status, ("?", ""))
    return Text(f"{glyph} {status}", style=style)


_VERDICT = {"accepted": ("✓", "green"), "rejected": ("✗", "red"), "duplicate": ("=", "yellow")}


def verdict_text(verdict: str) -> Text:
    """A candidate's verdict."""
    glyph, style = _VERDICT.get(verdict, ("?", ""))
    return Text(f"{glyph} {verdict}", style=style)
