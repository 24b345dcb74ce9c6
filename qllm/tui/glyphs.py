"""States as a glyph and a word, never by colour alone."""

from __future__ import annotations

from rich.text import Text

from qllm.text import rich_text

_STATUS = {
    "queued": ("◌", "dim"),
    "running": ("▶", "green"),
    "paused": ("⏸", "yellow"),
    "finished": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "died": ("†", "red"),
    "damaged": ("?", "red"),
}


def status_text(status: str) -> Text:
    """A run's status."""
    glyph, style = _STATUS.get(status, ("?", ""))
    return rich_text(f"{glyph} {status}", style)


_VERDICT = {"accepted": ("✓", "green"), "rejected": ("✗", "red"), "duplicate": ("=", "yellow")}


def verdict_text(verdict: str) -> Text:
    """A candidate's verdict."""
    glyph, style = _VERDICT.get(verdict, ("?", ""))
    return rich_text(f"{glyph} {verdict}", style)
