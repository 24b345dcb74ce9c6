"""Servers of registered models that go on between runs: started, seen and stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.opening import server_spec, verify
from models.protocol import ModelError
from models.vllm.launch import ServerSpec
from models.vllm.server import VllmServer
from models.vllm.state import read_state
from qllm.errors import UsageError, WorkError
from qllm.paths import server_dir

Say = Callable[[str], None]

_POLL_S = 1.0


@contextmanager
def plain_errors() -> Iterator[None]:
    """What a model's folder or the registry has to complain about is wrong use.

    Raises:
        UsageError: instead of a ModelError.
    """
    try:
        yield
    except ModelError as error:
        raise UsageError(str(error)) from None


def server_document(name: str) -> dict[str, Any] | None:
    """The running server of a model: where it is; None if none runs."""
    folder = server_dir(name)
    state = read_state(folder)
    if state is None or not state.is_running():
        return None
    return {
        "url": f"http://127.0.0.1:{state.port}/v1",
        "pid": state.server,
        "log": str(folder / "server.log"),
        "key_file": str(folder / "state.json"),
        "stays": state.persistent,
    }


def serve(entry: ModelEntry, config: ModelsConfig, say: Say, *, foreground: bool) -> VllmServer:
    """Start a model's server, or take over the one that runs.

    Args:
        entry: a model with backend vllm.
        config: how models are run.
        say: told about slow steps.
        foreground: whether it shall end with this process instead of going on until it is stopped.

    Raises:
        UsageError: the model is run by another backend, or its folder has changed.
        WorkError: the server does not start.
    """
    if entry.backend != "vllm":
        what = (
            "runs in QLLM's own process, and needs no server"
            if entry.url is None
            else f"is served by somebody else, at {entry.url}"
        )
        raise UsageError(f"model '{entry.name}' {what} (only backend vllm is started from here)")
    with plain_errors():
        if config.verify:
            verify(entry)
        server = VllmServer(
            server_spec(entry, config),
            server_dir(entry.name),
            say,
            persistent=not foreground,
            start_timeout_s=config.start_timeout_s,
        )
    try:
        server.start()
    except ModelError as error:
        raise WorkError(str(error)) from None
    return server


def stay(server: VllmServer) -> None:
    """Wait until the server ends or Ctrl-C; then let go of it.

    Raises:
        WorkError: it ended by itself.
    """
    try:
        while server.is_running():
            time.sleep(_POLL_S)
        raise WorkError(f"the server ended by itself: {server.reason()} (log: {server.log})")
    finally:
        server.release()


def stop(name: str) -> bool:
    """End a model's server and all of its processes; whether one ran.

    It is found by the model's name, registered or not, so that a server outlives no removal.
    """
    running = server_document(name) is not None
    folder = server_dir(name)
    if folder.is_dir():
        nothing = ServerSpec(python=os.devnull, model_path=os.devnull, served_name=name)
        with plain_errors():
            VllmServer(nothing, folder).stop()
    return running
