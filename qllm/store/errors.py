"""What can go wrong with the run store, as one clear line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(RuntimeError):
    """The run store cannot be used; the message says what, where, and what to do."""


class StoreMissingError(StoreError):
    """A reader found no database, and readers never create one."""


class UnknownRunError(StoreError):
    """No run has this id."""


_PASSWORD = re.compile(r"(?P<head>\w[\w+.-]*://[^:/@\s]*:)[^@\s]*@")
_SECRET_QUERY = re.compile(
    r"(?P<head>[?&;](?:password|passwd|pwd|sslpassword|token)=)[^&;\s]*", re.I
)


def redact(text: str) -> str:
    """``text`` with the passwords of any URLs in it replaced by ``***``."""
    return _SECRET_QUERY.sub(r"\g<head>***", _PASSWORD.sub(r"\g<head>***@", text))


def _explain(reason: str, where: str) -> str:
    low = reason.lower()
    if "locked" in low or "busy" in low:
        return (
            f"{where} is locked by another process: wait for it, or stop the run that writes to it"
        )
    if "not a database" in low or "malformed" in low or "file is encrypted" in low:
        return f"{where} is damaged or no database: move it away, or restore a copy"
    if "readonly" in low or "read-only" in low or "permission denied" in low:
        return f"{where} cannot be written: check the permissions of the file and its folder"
    if "disk is full" in low or "no space left" in low:
        return f"{where}: the disk is full; free some space and resume the run"
    if "unable to open" in low:
        return f"{where} cannot be opened: check that its folder exists and can be written"
    if "no such table" in low or "no such column" in low:
        return f"{where} is no run store of QLLM ({reason}): choose another file"
    if "disk i/o error" in low:
        return f"{where} cannot be read or written (disk I/O error): check the disk"
    return f"{where}: {reason}"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what SQLAlchemy or a driver raises into a :class:`StoreError` of one line.

    Args:
        where: the database as the user knows it, without a password.
    """
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
        raise StoreError(f"run store {_explain(redact(reason[0]), where)}") from error
    except SQLAlchemyError as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(f"run store {where}: {redact(reason[0])}") from error
