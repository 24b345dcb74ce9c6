"""Atomic writing of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def drafted(path: Path, name: str | None = None) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` when the block succeeds.

    Folders are made as needed. What stood at ``path`` before stays until then, and the draft is
    removed when the block fails.

    Args:
        name: of the draft; by default that of the file with ``.part`` behind it.

    Raises:
        OSError: the folder cannot be made, or the file not be renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(name or path.name + ".part")
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
