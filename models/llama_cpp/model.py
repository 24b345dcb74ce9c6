"""A chat model in a GGUF file, run by llama.cpp in a process of its own.

Requests of several threads are written side by side. The process is started when the model is
first asked, and again when it has died; it ends with its user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.families import detect_family
from models.inspection import inspect_model
from models.llama_cpp.gguf import read_gguf
from models.llama_cpp.messages import Opening
from models.llama_cpp.process import ODD, WorkerProcess
from models.memory import cache_of
from models.protocol import (
    ChatRequest,
    Completion,
    Message,
    ModelError,
    OnDone,
    OnText,
    Say,
)
from models.token_choice import Sampling, require_something

_MISSING = (
    "GGUF files need {}: pip install -e '.[llama]' (llama.cpp is compiled then, in about ten"
    " minutes: a C++ compiler and cmake are needed)"
)
_ROWS = 8
_CELLS_A_ROW = 1024
"""Tokens that a reply is expected to have, where nothing says how much memory may be used."""


class LlamaCppModel:
    """A GGUF file as a chat model. Several threads may ask; their replies are one batch.

    The same request alone gets the same replies. Others at the same time change the size of the
    batch, and so the rounding, which decides where two tokens are almost equally likely.

    Args:
        name: how the user refers to it.
        path: the file, or the first of its parts.
        folder: where the process writes its log.
        device: ``cpu``; ``cuda`` where llama.cpp was compiled for it; ``auto``: a GPU if there is
            one and llama.cpp was compiled for it.
        context_tokens: most tokens of a conversation with its reply; never beyond the file's own.
        rows: replies at once; None: 8.
        kv_cache_bytes: of the keys and values of all conversations together.
        chat_template_kwargs: further variables of the chat template.
        say: told about slow steps.
        silence_s: seconds without any text after which a request has failed.

    Raises:
        ModelError: the file holds no model that may be loaded, or a package is missing.
    """

    is_llm = True

    def __init__(
        self,
        name: str,
        path: str | Path,
        folder: Path,
        *,
        device: str = "auto",
        context_tokens: int | None = None,
        rows: int | None = None,
        kv_cache_bytes: int | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        say: Say = lambda line: None,
        silence_s: float = 600.0,
    ) -> None:
        facts = inspect_model(path)
        for package in ("llama_cpp", "llguidance"):
            if importlib.util.find_spec(package) is None:
                raise ModelError(f"'{name}': {_MISSING.format(package)}")
        self._name, self._folder, self._say = name, folder, say
        self._silence_s = silence_s
        bounds = [b for b in (facts.context_tokens, context_tokens) if b is not None]
        self._context = min(bounds, default=4096)
        gguf = read_gguf(Path(facts.path))
        family = detect_family(gguf.config(), gguf.title)
        sampling = gguf.sampling or (family.sampling if family is not None else Sampling())
        rows = rows or _ROWS
        cells = self._context + (rows - 1) * _CELLS_A_ROW
        if kv_cache_bytes is not None:
            cells = max(self._context, kv_cache_bytes // _token_bytes(gguf.config()))
        self._opening = Opening(
            name,
            facts.path,
            gguf.chat_template,
            self._context,
            cells,
            rows,
            _threads(),
            sampling.top_k,
            sampling.top_p,
            device != "cpu",
            device.startswith("cuda"),
            dict(chat_template_kwargs or {}),
        )
        self._starting = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self._name

    @property
    def context_tokens(self) -> int | None:
        """The file's own limit or the setting, whichever is less."""
        return self._context

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation with its chat template.

        Raises:
            ModelError: the file cannot be loaded, or the template refuses the conversation.
        """
        for message in self._running().ask("count", ChatRequest(messages)):
            tokens = message.get("tokens")
            if isinstance(tokens, int):
                return tokens
            break
        raise ModelError(ODD)

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The replies to a request, written side by side; temperature 0 takes the likeliest token.

        Raises:
            ContextOverflow: the conversation does not leave room for ``request.max_tokens``.
            ModelError: the model cannot be loaded, its process died, or the constraint cannot be
                used.
        """
        require_something(self._name, request)
        done: dict[int, Completion] = {}
        for message in self._running().ask("complete", request):
            row, what = _told(message, request.n)
            if isinstance(what, str):
                if on_text is not None:
                    on_text(row, what)
                continue
            done[row] = what
            if on_done is not None:
                on_done(row, what)
            if len(done) == request.n:
                break
        return [done[row] for row in range(request.n)]

    def make_room(self) -> None:
        """End the process where it holds a GPU's memory; on a CPU, nothing."""
        with self._starting:
            held = self._worker is not None and self._worker.on_gpu
        if held:
            self._stop()

    def come_back(self) -> None:
        """Nothing: the next request starts the process."""

    def close(self) -> None:
        """End the process, also while it loads."""
        self._closed.set()
        self._stop()

    def _stop(self) -> None:
        with self._starting:
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _running(self) -> WorkerProcess:
        with self._starting:
            if self._closed.is_set():
                raise ModelError(f"'{self._name}' is closed")
            if self._worker is None or self._worker.died:
                self._say(f"llama.cpp loads '{self._name}'")
                self._worker = WorkerProcess(
                    self._opening, self._folder, self._silence_s, self._closed
                )
            return self._worker


def _told(message: Mapping[str, Any], n: int) -> tuple[int, str | Completion]:
    """Row and new text, or row and reply.

    Raises:
        ModelError: the message is none of these.
    """
    row, what = message.get("row"), message.get("what")
    if isinstance(row, int) and 0 <= row < n:
        if message.get("kind") == "text" and isinstance(what, str):
            return row, what
        if message.get("kind") == "done" and isinstance(what, dict):
            with contextlib.suppress(TypeError):
                return row, Completion(**what)
    raise ModelError(ODD)


def _threads() -> int:
    """Threads of computation: ``OMP_NUM_THREADS``, as elsewhere, or a thread for each processor.

    The threads wait for each other in every step, so more of them than processors that are free
    make it many times slower.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else len(os.sched_getaffinity(0))


def _token_bytes(config: Mapping[str, Any]) -> int:
    return max(1, cache_of(config).token_bytes)
