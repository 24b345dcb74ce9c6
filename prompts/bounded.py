"""Bounded reading of files and JSON that others may have written.

Nothing here blocks, follows a symbolic link, or allocates more than a stated limit: a named pipe
that waits for a writer, an endless device or a few bytes that unfold into gigabytes are errors.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

MAX_DEPTH = 64
"""Lists and objects inside each other; what this project writes needs about ten."""

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class BoundsError(ValueError):
    """Something that cannot be read within its bounds; the message says what and why."""


def open_regular(path: Path | str) -> int:
    """Open a regular file for reading; returns its descriptor, for the caller to close.

    Raises:
        BoundsError: there is none, it may not be read, or it is a link, a pipe, a device, ...
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
    try:
        _require_regular(path, os.lstat(path).st_mode)  # opening a device may already act on it
        descriptor = os.open(path, flags)
    except OSError as error:
        raise BoundsError(f"'{path}' cannot be read: {_reason(error)}") from None
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _require_regular(path: Path | str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "no regular file")
        raise BoundsError(f"'{path}' is {kind}, where a regular file is expected")


def read_bytes(path: Path | str, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        limit: most bytes that it may have.

    Raises:
        BoundsError: it cannot be read, or is larger.
    """
    descriptor = open_regular(path)
    with os.fdopen(descriptor, "rb") as file:
        try:
            content = file.read(limit + 1)
        except OSError as error:
            raise BoundsError(f"'{path}' cannot be read: {_reason(error)}") from None
    if len(content) > limit:
        raise BoundsError(f"'{path}' has more than the {limit:,} bytes that are expected")
    return content


def read_json(path: Path | str, limit: int) -> Any:
    """The JSON document in a regular file; `parse_json` says what is refused.

    Raises:
        BoundsError: it cannot be read, is larger than ``limit`` bytes, or is no such JSON.
    """
    content = read_bytes(path, limit)
    try:
        return parse_json(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise BoundsError(f"'{path}' is no UTF-8 text") from None
    except BoundsError as error:
        raise BoundsError(f"'{path}': {error}") from None


def parse_json(text: str) -> Any:
    """A JSON text as Python values.

    Raises:
        BoundsError: it is no JSON, nested more than `MAX_DEPTH` deep, or holds a number that is
            not finite or beyond 64 bits.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise BoundsError(f"JSON nested more than {MAX_DEPTH} deep") from None
    except ValueError as error:
        raise BoundsError(f"no JSON: {error}") from None
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for container in level:
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is dict or kind is list:
                    inner.append(item)
                elif kind is float and item - item != 0:
                    raise BoundsError("JSON with a number that is not finite")
                elif kind is int and not -(2**63) <= item < 2**64:
                    raise BoundsError("JSON with a whole number beyond 64 bits")
        if not inner:
            return value
        level = inner
    raise BoundsError(f"JSON nested more than {MAX_DEPTH} deep")
