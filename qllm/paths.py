"""Where a project keeps its runs: the home folder, the database in it, a folder per run."""

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


def run_dir(home: Path, run_id: int) -> Path:
    """The folder of a run's files (checkpoints, certificates, the report)."""
    return home / str(run_id)
