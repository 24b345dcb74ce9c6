"""Python processes of this installation."""

from __future__ import annotations

import json
import os
import sys

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
