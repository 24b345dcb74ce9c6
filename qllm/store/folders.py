"""Folders of runs' files: each belongs to one run, whose random id it carries.

A run's number says little: another database in the same home folder counts from 1, too. Where the
folder of that number belongs to another run, a run gets a folder of another name.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from prompts.bounded import BoundsError, read_bytes
from qllm.store.numbers import run_name

ID_FILE = ".qllm-run"
UID = re.compile(r"[0-9a-f]{32}")


def new_uid() -> str:
    """A random id, which no other run has."""
    return secrets.token_hex(16)


def uid_in(folder: Path) -> str | None:
    """The id of the run that a folder belongs to; None where it carries none."""
    try:
        return read_bytes(folder / ID_FILE, 100).decode("ascii", "replace").strip()
    except BoundsError:
        return None


def mark(folder: Path, uid: str) -> None:
    """Write a run's id into its folder."""
    (folder / ID_FILE).write_text(f"{uid}\n", encoding="ascii")


def find_folder(home: Path, run_id: int, uid: str | None) -> Path:
    """The folder of a run, or where it would be: it need not exist.

    Args:
        uid: None for a run of the first version, whose folder carries no id.
    """
    names = _names(home, run_id, uid)
    return next((p for p in names if p.is_dir() and uid_in(p) == uid), _free(names))


def make_folder(home: Path, run_id: int, uid: str | None) -> Path:
    """The folder of a run, made if it is missing; never one that was there before.

    Raises:
        OSError: it cannot be made.
    """
    path = find_folder(home, run_id, uid)
    if not (path.is_dir() and uid_in(path) == uid):
        home.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        if uid is not None:
            mark(path, uid)
    return path


def _names(home: Path, run_id: int, uid: str | None) -> tuple[Path, Path]:
    name = run_name(run_id)
    return home / name, home / f"{name}-{(uid or 'first')[:8]}"


def _free(names: tuple[Path, Path]) -> Path:
    usual, other = names
    return other if usual.exists() or usual.is_symlink() else usual
