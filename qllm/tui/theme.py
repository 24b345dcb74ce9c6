"""The theme that a person chose, kept in the folder of the runs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from prompts.bounded import BoundsError, read_json

NAME = "tui.json"
_MOST_BYTES = 65_536


def kept_theme(home: Path) -> str | None:
    """The theme that was chosen last; None where none was, or the file is not to be read."""
    with contextlib.suppress(BoundsError):
        found = read_json(home / NAME, _MOST_BYTES)
        theme = found.get("theme") if isinstance(found, dict) else None
        return theme if isinstance(theme, str) else None
    return None


def keep_theme(home: Path, theme: str) -> None:
    """Keep a theme, if the folder can be written to."""
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        (home / NAME).write_text(json.dumps({"theme": theme}) + "\n", encoding="utf-8")
