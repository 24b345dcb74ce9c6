"""Processes of this installation: start, exit status, last output."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from prompts.bounded import BoundsError, open_regular

_START = (
    "import json, pkgutil, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "sys.exit(pkgutil.resolve_name(sys.argv.pop(1))(sys.argv[1:]))"
)


def python_command(function: str, *words: str) -> list[str]:
    """The arguments of a fresh interpreter that calls a function with ``words`` and exits with what
    it returns.

    It has this process's search path. ``python -m`` would put the working folder before it, where a
    folder named ``models`` is nothing unusual.

    Args:
        function: such as ``qllm.cli.main:run``.
    """
    path = json.dumps([os.path.abspath(entry) for entry in sys.path])
    return [sys.executable, "-P", "-c", _START, function, *words, path]


def ending(code: int) -> str:
    """A return code in words: ``ended with exit code 2``, ``was killed by SIGKILL``."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def tail(path: Path, most_bytes: int, *, start: int = 0) -> list[str]:
    """The last lines of a regular file; none where it cannot be read.

    Args:
        most_bytes: of them together, so that a long log costs no more.
        start: the byte of the file before which nothing counts.
    """
    try:
        with open(open_regular(path), "rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - most_bytes))
            return file.read(most_bytes).decode("utf-8", "replace").splitlines()
    except (OSError, BoundsError):
        return []
