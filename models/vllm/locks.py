"""Locks of a server's folder. They are the kernel's (``flock``): they end with their
process, however it ends. They are closed when a program is started, but a child that is forked
without starting a program would hold its parent's.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.protocol import ModelError


@contextmanager
def folder_lock(folder: Path, timeout_s: float) -> Iterator[None]:
    """Only one at a time starts, adopts or stops the server of a folder.

    Raises:
        ModelError: another process holds it for longer than ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    descriptor = _open(folder / "lock")
    try:
        while not _try(descriptor):
            if time.monotonic() > deadline:
                raise ModelError(
                    f"another process has been starting or stopping the server of {folder} for "
                    f"{timeout_s:g} s: wait for it or end it"
                )
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


class FolderLock:
    """The same lock for one who does not wait."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"

    @contextmanager
    def attempt(self) -> Iterator[bool]:
        """Whether it was acquired; held until the block ends."""
        descriptor = _open(self._path)
        try:
            yield _try(descriptor)
        finally:
            os.close(descriptor)


class UserMark:
    """Mark of this process as a user of a folder's server, until it ends or removes the mark."""

    def __init__(self, folder: Path) -> None:
        users = folder / "users"
        users.mkdir(mode=0o700, exist_ok=True)
        self._path = users / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._descriptor: int | None = _open(self._path)
        _try(self._descriptor)

    def remove(self) -> None:
        """Use it no longer. Calling it twice is fine."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def users(folder: Path) -> int:
    """Number of live processes (or marks of one) that use the server; forgets dead ones.

    To be called under the folder's lock, so that no process is in the middle of marking itself.
    """
    count = 0
    for path in list((folder / "users").glob("*")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if _try(descriptor):
                with suppress(FileNotFoundError):
                    path.unlink()
            else:
                count += 1
        finally:
            os.close(descriptor)
    return count


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
