"""A run store in which every text tries to act on the terminal that shows it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

POISON = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e\u2066[bold red]x[/] [link=file:///etc]\r\x08\n"
"""Writes the clipboard, clears the screen, turns text around, is markup of rich and Textual, and
begins another line."""

ACTING = frozenset("\x1b\x07\x9b\u202e\u2066\r\x08")
"""What of it must reach no terminal."""

_KEPT = {
    "runs": {"uid", "host", "boot_id"},
    "messages": {"conversation"},
    "verdicts": {"kind", "key"},
    "candidates": {"graph_hash"},
    "alembic_version": {"version_num"},
}
"""What rows are found by, or a folder is called."""


def poison(home: Path, *, kinds: bool) -> None:
    """Poison every text of the store in a home folder.

    Args:
        kinds: also those that say of what kind a row is and what became of it; whoever reads them
            takes the row for a damaged one, or leaves it out.
    """
    connection = sqlite3.connect(home / "qllm.db")
    connection.execute("PRAGMA foreign_keys=OFF")
    tables = [t for (t,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    for table in tables:
        for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
            word = name in ("kind", "status", "verdict", "role", "name", "stage", "algo")
            if name in _KEPT.get(table, ()) or (word and not kinds):
                continue
            if kind == "JSON":
                for row, value in connection.execute(f"SELECT id, {name} FROM {table}").fetchall():
                    text = json.dumps(_poisoned(json.loads(value))) if value else value
                    connection.execute(f"UPDATE {table} SET {name} = ? WHERE id = ?", (text, row))
            elif kind == "TEXT":
                connection.execute(f"UPDATE {table} SET {name} = ? || {name}", (POISON,))
    connection.commit()
    connection.close()


def _poisoned(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        kept = ("graph", "graph_hash", "selected", "task")
        return {k: v if k in kept else _poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_poisoned(item) for item in value]
    return POISON + value if isinstance(value, str) else value
