"""What runs language models: this package's backends, and those of other installed packages.

A package adds one by an entry point of the group ``qllm.backends``, whose object makes a
`models.protocol.ChatModel` as `models.opening.Opener` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marl.errors import SettingsError, near_names
from marl.plugins import Registry
from models.config import ModelsConfig
from models.entries import ModelEntry
from models.opening import OPENERS, Opener, Say, open_model
from models.protocol import ChatModel, ModelError
from qllm.errors import UsageError


def _accepted(name: str, found: Any) -> Opener:
    if not callable(found):
        raise ValueError("opens no model: it cannot be called")
    opener: Opener = found
    return opener


BACKENDS = Registry("qllm.backends", "backend", dict(OPENERS), _accepted)


def require_backend(name: str) -> None:
    """Refuse a backend that is not there or does not load.

    Raises:
        UsageError: the message lists the near names, or names the package.
    """
    if name not in BACKENDS:
        raise UsageError(f"there is no backend '{name}': {near_names(name, BACKENDS)}")
    try:
        BACKENDS[name]
    except SettingsError as error:
        raise UsageError(str(error)) from None


def opened(entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say | None) -> ChatModel:
    """The model behind an entry; see `models.opening.open_model`.

    Raises:
        ModelError: it cannot be opened.
    """
    try:
        return open_model(entry, config, folder=folder, say=say, openers=BACKENDS)
    except SettingsError as error:
        raise ModelError(f"model '{entry.name}': {error}") from None
