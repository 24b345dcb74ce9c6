"""State of a folder's running server: a small file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from models.vllm.processes import is_alive


@dataclass(frozen=True)
class ServerState:
    """One started server."""

    digest: str
    """Of its settings."""
    served_name: str
    port: int
    key: str
    keeper: int
    """Process number of its keeper."""
    keeper_started: float
    server: int
    """Process number and group of the server itself."""
    server_started: float
    persistent: bool
    """Whether it goes on without users."""

    def is_running(self) -> bool:
        """Whether the keeper lives: it does for as long as the server does."""
        return is_alive(self.keeper, self.keeper_started)

    def __repr__(self) -> str:
        return f"ServerState({self.served_name!r}, port={self.port}, keeper={self.keeper})"


def write_state(folder: Path, state: ServerState) -> None:
    """Write it in one step, readable by its owner only."""
    beside = folder / f".state-{secrets.token_hex(4)}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(state), file)
    beside.replace(folder / "state.json")


def read_state(folder: Path) -> ServerState | None:
    """The folder's server, running or not; ``None`` if there is none that we can trust.

    A file that somebody else wrote, or could have, says nothing about a server of ours.
    """
    path = folder / "state.json"
    try:
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        return ServerState(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def forget_state(folder: Path) -> None:
    """There is no server any more."""
    (folder / "state.json").unlink(missing_ok=True)
