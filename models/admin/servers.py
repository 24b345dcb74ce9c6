"""Servers of registered models that outlive a run: start, find and stop them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.opening import server_spec, verify
from models.protocol import ModelError, Say
from models.vllm.launch import ServerSpec
from models.vllm.server import VllmServer
from models.vllm.state import read_state


def server_document(folder: Path) -> dict[str, Any] | None:
    """The running server that keeps its state in a folder; None if none runs."""
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


def server_of(
    entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say, *, persistent: bool
) -> VllmServer:
    """A model's server, to be started, or adopted where it runs already.

    Args:
        entry: a model with backend vllm.
        config: how models are run.
        folder: where the server keeps its log, key and state.
        say: told about slow steps.
        persistent: whether it outlives this process, until it is stopped.

    Raises:
        ModelError: another backend runs the model, or its folder has changed.
    """
    if entry.backend != "vllm":
        what = (
            "runs in QLLM's own process, and needs no server"
            if entry.url is None
            else f"is served by somebody else, at {entry.url}"
        )
        raise ModelError(f"model '{entry.name}' {what} (only backend vllm is started from here)")
    if config.verify:
        verify(entry)
    return VllmServer(
        server_spec(entry, config),
        folder,
        say,
        persistent=persistent,
        start_timeout_s=config.start_timeout_s,
    )


def stop_server(name: str, folder: Path) -> bool:
    """End a server and all of its processes; whether one ran.

    Args:
        name: of its model, which need not be registered any more.
        folder: where the server keeps its state.

    Raises:
        ModelError: it cannot be ended.
    """
    running = server_document(folder) is not None
    if folder.is_dir():
        nothing = ServerSpec(python=os.devnull, model_path=os.devnull, served_name=name)
        VllmServer(nothing, folder).stop()
    return running
