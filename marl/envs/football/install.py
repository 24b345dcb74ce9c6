"""Where Google Research Football is installed, found out without importing it, or torch."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "QLLM_FOOTBALL_PYTHON"
FOLDER = ".venv-football"
HOW = (
    f"run `make football` (it names the Debian packages that it needs), or set env.python or "
    f"{VARIABLE} to a Python that has gfootball"
)
"""To get it, in words."""

_ROOT = Path(__file__).resolve().parents[3]


class NotInstalledError(Exception):
    """There is no Python with gfootball where one was looked for; the message says where."""


def football_python(setting: str | None = None) -> str:
    """The Python that plays football.

    Args:
        setting: ``env.python``; without it, the environment variable, then what `make football`
            builds, below the current folder or beside the source.

    Raises:
        NotInstalledError: it does not exist.
    """
    named = {"env.python": setting, VARIABLE: os.environ.get(VARIABLE)}
    for name, value in named.items():
        if value:
            python = Path(value).expanduser()
            if not (python.is_file() and os.access(python, os.X_OK)):
                raise NotInstalledError(f"{name}={value} is no program: {HOW}")
            return str(python.absolute())
    for folder in (Path.cwd(), _ROOT):
        python = folder / FOLDER / "bin" / "python"
        if (folder / FOLDER / ".installed").is_file() and os.access(python, os.X_OK):
            return str(python)
    raise NotInstalledError(f"Google Research Football is not installed: {HOW}")
