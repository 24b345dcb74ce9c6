"""Files that come from outside, read in bounded time and memory."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnreadableError(OSError):
    """A file that is none of the kind or size that is read; the message is its ``strerror``."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


def read_bytes(path: Path, limit: int) -> bytes:
    """The contents of a regular file of at most ``limit`` bytes; links are followed.

    Pipes and devices are refused instead of waited for or opened.

    Raises:
        OSError: it is missing, cannot be read, is no regular file or is too large.
    """
    try:
        _require_regular(os.stat(path))
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise UnreadableError("a name cannot hold a null character") from None
    with os.fdopen(handle, "rb") as file:
        _require_regular(os.fstat(handle))  # it may have been exchanged in between
        data = file.read(limit + 1) or b""
    if len(data) > limit:
        raise UnreadableError(f"it is larger than {limit:,} bytes, the most that is read")
    return data


def _require_regular(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise UnreadableError("Is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableError("it is a pipe, a device or a socket, no regular file")
