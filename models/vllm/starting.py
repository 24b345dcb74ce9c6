"""Starting a server's processes: the folder is prepared, the key is made, the keeper is run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from models.protocol import ModelError
from models.vllm import guard
from models.vllm.launch import (
    GUARD,
    ServerSpec,
    base_environment,
    command_line,
    server_environment,
)
from models.vllm.processes import started_at
from models.vllm.reasons import reason
from models.vllm.state import ServerState, write_state


def start_keeper(
    spec: ServerSpec, folder: Path, log: Path, *, on_cpu: bool, persistent: bool, grace_s: float
) -> tuple[subprocess.Popen[str], ServerState]:
    """Run a keeper, which runs the server, and write down what runs. To be called under the
    folder's lock.

    Args:
        spec: The server's settings.
        folder: Of the server.
        log: Where the server writes; what is there is moved aside.
        on_cpu: Whether it will run on a CPU.
        persistent: whether it goes on without users.
        grace_s: Seconds between asking it to stop and killing it.

    Returns:
        The keeper's process and the state. The server has only begun to load.

    Raises:
        ModelError: its program cannot be run.
    """
    port = _free_port()
    key = secrets.token_urlsafe(32)
    inside = folder / "inside"
    inside.mkdir(exist_ok=True, mode=0o700)
    shutil.copyfile(guard.__file__, inside / f"{GUARD}.py")
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    job = {
        "command": command_line(spec, port, on_cpu=on_cpu),
        "environment": server_environment(
            spec, key, guard_folder=str(inside), on_cpu=on_cpu, base=base_environment()
        ),
        "log": str(log),
        "folder": str(folder),
        "persistent": persistent,
        "grace_s": grace_s,
    }
    keeper, server = _run_keeper(job, folder, log)
    if server is None:
        keeper.wait()
        raise ModelError(f"the vLLM server of '{spec.served_name}' cannot be run: {reason(log)}")
    state = ServerState(
        digest=spec.digest(),
        served_name=spec.served_name,
        port=port,
        key=key,
        keeper=keeper.pid,
        keeper_started=started_at(keeper.pid) or 0.0,
        server=server,
        server_started=started_at(server) or 0.0,
        persistent=persistent,
    )
    write_state(folder, state)
    return keeper, state


def _run_keeper(
    job: dict[str, object], folder: Path, log: Path
) -> tuple[subprocess.Popen[str], int | None]:
    """The keeper, and the server's process number as it says it."""
    errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    ours = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, ours))
    keeper = subprocess.Popen(
        [sys.executable, "-m", "models.vllm.keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        start_new_session=True,
        text=True,
    )
    os.close(errors)
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with suppress(BrokenPipeError):
        json.dump(job, keeper.stdin)
        keeper.stdin.close()
    said = keeper.stdout.readline().strip()
    keeper.stdout.close()
    return keeper, int(said) if said.isdigit() else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
