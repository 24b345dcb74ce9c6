"""What can go wrong with the run store, as one clear line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager


class StoreError(RuntimeError):
    """The run store cannot be used; the message says what, where, and what to do."""


class StoreMissingError(StoreError):
    """A reader found no database, and readers never create one."""


class StoreAwayError(StoreError):
    """The database does not answer, or the connection to it was lost; it may come back."""


class UnknownRunError(StoreError):
    """No run has this id."""


_PASSWORD = re.compile(r"(?P<head>\w[\w+.-]*://[^:/@\s]*:)\S*@")
_SECRET_QUERY = re.compile(
    r"(?P<head>[?&;](?:password|passwd|pwd|sslpassword|token)=)[^&;\s]*", re.I
)


def redact(text: str) -> str:
    """``text`` with the passwords of any URLs in it replaced by ``***``."""
    return _SECRET_QUERY.sub(r"\g<head>***", _PASSWORD.sub(r"\g<head>***@", text))


_BY_SERVER = {
    r"password authentication failed|no password supplied|authentication failed": (
        "the server refuses this user and password: correct them in its URL, or keep the password"
        " in ~/.pgpass"
    ),
    r"no pg_hba\.conf entry": (
        "the server admits no such user, host and database: add a line to its pg_hba.conf"
    ),
    r'database "[^"]*" does not exist': "there is no such database: make it with createdb",
    r'role "[^"]*" does not exist': "there is no such user: make it with createuser --pwprompt",
    r"could not translate host name|failed to resolve host|name or service not known": (
        "its host is unknown: correct it in the URL"
    ),
    r"permission denied for": (
        "the user may not use it: make the user the owner of the database (createdb --owner)"
    ),
    r"connection refused|no such file or directory": (
        "no server answers: start it, or correct host and port in its URL"
    ),
    r"timeout expired|timed out|no route to host|unreachable": (
        "its host does not answer: check the network, and host and port in its URL"
    ),
    r"too many clients|remaining connection slots|too many connections": (
        "it has no connection left: raise the server's max_connections, or run less at once"
    ),
    r"starting up|shutting down|administrator command|closed the connection|connection .*lost": (
        "the server has closed the connection"
    ),
}
"""Message of a database server or driver -> cause and remedy."""

_BY_FILE = {
    "locked|busy": " is locked by another process: wait for it, or stop the run that writes to it",
    "not a database|malformed|file is encrypted": (
        " is damaged or no database: move it away, or restore a copy"
    ),
    "readonly|read-only|permission denied": (
        " cannot be written: check the permissions of the file and its folder"
    ),
    "disk is full|no space left": ": the disk is full; free some space and resume the run",
    "unable to open": " cannot be opened: check that its folder exists and can be written",
    "no such table|no such column": " is no run store of QLLM ({reason}): choose another file",
    "disk i/o error": " cannot be read or written (disk I/O error): check the disk",
}
"""What SQLite says -> the end of a sentence about its file."""


def _explain(reason: str, where: str) -> str:
    low, first = reason.lower(), reason.splitlines()[0]
    for said, meaning in _BY_SERVER.items() if "://" in where else ():
        if re.search(said, low):
            return f"{where}: {meaning}"
    ends = (meaning for said, meaning in _BY_FILE.items() if re.search(said, low))
    return where + next(ends, ": {reason}").format(reason=first)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn errors of SQLAlchemy or a driver into a :class:`StoreError` of one line.

    Args:
        where: the database as the user knows it, without a password.
    """
    from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

    try:
        yield
    except DBAPIError as error:
        reason = redact(str(error.orig).strip()) or type(error.orig).__name__
        connecting = isinstance(error, OperationalError) and error.statement is None
        kind = StoreAwayError if error.connection_invalidated or connecting else StoreError
        raise kind(f"run store {_explain(reason, where)}") from error
    except SQLAlchemyError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StoreError(f"run store {where}: {redact(lines[0])}") from error
