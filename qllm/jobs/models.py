"""The user's registered models: their registry, backends (plug-ins included) and servers.

A package adds a backend by an entry point of the group ``qllm.backends``, whose object makes a
`models.protocol.ChatModel` as `models.opening.Opener` says.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marl.errors import SettingsError, near_names
from marl.plugins import Registry
from models.config import ModelsConfig
from models.entries import ModelEntry
from models.opening import OPENERS, Opener, open_model
from models.protocol import ChatModel, ModelError, Say
from models.registry import ModelRegistry
from qllm.errors import UsageError, WorkError
from qllm.paths import models_file, server_dir

if TYPE_CHECKING:
    from models.admin.registering import Added
    from models.memory import Device
    from models.vllm.server import VllmServer
    from synth.coders import CoderEntry


def _accepted(name: str, found: Any) -> Opener:
    if not callable(found):
        raise ValueError("opens no model: it cannot be called")
    opener: Opener = found
    return opener


BACKENDS = Registry("qllm.backends", "backend", dict(OPENERS), _accepted)

_POLL_S = 1.0


def registry() -> ModelRegistry:
    """The user's registry of models."""
    return ModelRegistry(models_file())


def coders() -> Sequence[CoderEntry]:
    """`synth.coders.list_coders` of the user's registry. What opens a plug-in's models says by an
    attribute ``is_llm`` that they are no language models.

    Raises:
        ModelError: the registry cannot be read.
    """
    from synth.coders import list_coders

    def is_llm(entry: ModelEntry) -> bool:
        with suppress(KeyError, SettingsError):  # a backend that is gone, or does not load
            return bool(getattr(BACKENDS[entry.backend], "is_llm", True))
        return True

    return list_coders(registry(), is_llm)


def add_model(name: str, where: str, settings: dict[str, Any], **how: bool) -> Added:
    """Register a model; see `models.admin.registering.add_model`.

    Raises:
        UsageError: there is no such backend, or it does not load.
        ModelError: the model cannot be used as it is.
    """
    from models.admin import registering

    backend = settings.get("backend")
    if backend is not None and backend not in BACKENDS:
        raise UsageError(f"there is no backend '{backend}': {near_names(backend, BACKENDS)}")
    if backend is not None:
        BACKENDS[backend]  # SettingsError, if it does not load
    return registering.add_model(registry(), name, where, settings, **how)


def opened(
    entry: ModelEntry, config: ModelsConfig, say: Say | None, folder: Path | None = None
) -> ChatModel:
    """The model behind an entry; see `models.opening.open_model`.

    Raises:
        ModelError: it cannot be opened.
    """
    folder = folder or server_dir(entry.name)
    try:
        return open_model(entry, config, folder=folder, say=say, openers=BACKENDS)
    except SettingsError as error:
        raise ModelError(f"model '{entry.name}': {error}") from None


def devices() -> tuple[Device, ...]:
    """The GPUs of this machine, then its main memory.

    Raises:
        WorkError: they cannot be read.
    """
    import psutil

    from models.memory import devices_here

    try:
        return devices_here()
    except (OSError, RuntimeError, ValueError, psutil.Error) as error:
        raise WorkError(f"the memory of this machine cannot be read: {error}") from None


def check_model(entry: ModelEntry, config: ModelsConfig, say: Say) -> dict[str, Any]:
    """One completion under each kind of constraint; see `models.admin.trial.try_model`.

    Raises:
        ModelError: the model cannot be opened.
        WorkError: it cannot answer.
    """
    from models.admin.trial import try_model

    with closing(opened(entry, config, say)) as model:
        try:
            return try_model(model, entry)
        except ModelError as error:
            raise WorkError(f"model '{entry.name}' cannot answer: {error}") from None


def server_document(entry: ModelEntry) -> dict[str, Any] | None:
    """The running server of a model that we started; None if there is none."""
    from models.admin import servers

    return servers.server_document(server_dir(entry.name)) if entry.backend == "vllm" else None


def serve(entry: ModelEntry, config: ModelsConfig, say: Say, *, foreground: bool) -> VllmServer:
    """Start a model's server, or adopt the one that runs.

    Args:
        entry: a model with backend vllm.
        foreground: whether the server ends with this process; else it runs until it is stopped.

    Raises:
        ModelError: another backend runs the model, or its folder has changed.
        WorkError: the server does not start.
    """
    from models.admin import servers

    folder = server_dir(entry.name)
    server = servers.server_of(entry, config, folder, say, persistent=not foreground)
    try:
        server.start()
    except ModelError as error:
        raise WorkError(str(error)) from None
    return server


def stay(server: VllmServer) -> None:
    """Wait until the server ends or Ctrl-C; then release it.

    Raises:
        WorkError: it ended by itself.
    """
    try:
        while server.is_running():
            time.sleep(_POLL_S)
        raise WorkError(f"the server ended by itself: {server.reason()} (log: {server.log})")
    finally:
        server.release()
