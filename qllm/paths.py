"""Folders: a project's runs in its home folder, a user's models in the user's own.

Runs belong to a project, so they lie where one works. Models and the servers that run them belong
to the user, since one model serves many projects.
"""

from __future__ import annotations

import os
from pathlib import Path

DATABASE_NAME = "qllm.db"


def resolve_home(home: str | Path | None = None) -> Path:
    """The home folder: the argument, else ``$QLLM_HOME``, else ``runs`` in the working folder.

    The folder need not exist; whoever writes creates it.
    """
    return Path(home or os.environ.get("QLLM_HOME") or "runs").expanduser()


def database_url(home: Path) -> str:
    """SQLAlchemy URL of the run store: ``$QLLM_DB``, else the SQLite file in ``home``."""
    return os.environ.get("QLLM_DB") or f"sqlite:///{home / DATABASE_NAME}"


def models_file() -> Path:
    """The user's registry of models: ``$QLLM_MODELS``, else ``qllm/models.yaml`` in the user's
    configuration folder (``$XDG_CONFIG_HOME``, else ``~/.config``)."""
    given = os.environ.get("QLLM_MODELS")
    return (
        Path(given).expanduser() if given else _user("XDG_CONFIG_HOME", ".config") / "models.yaml"
    )


def server_dir(name: str) -> Path:
    """Where the server of a registered model keeps its log, key and state.

    ``$QLLM_SERVERS/NAME``, else in the user's state folder (``$XDG_STATE_HOME``, else
    ``~/.local/state``). One folder for all projects, so that they share the server.
    """
    given = os.environ.get("QLLM_SERVERS")
    base = (
        Path(given).expanduser() if given else _user("XDG_STATE_HOME", ".local/state") / "servers"
    )
    return base / name


def _user(variable: str, folder: str) -> Path:
    given = os.environ.get(variable)
    # A relative path in these variables is to be ignored (XDG base directory specification).
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / folder
    return base / "qllm"
