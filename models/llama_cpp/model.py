"""A chat model in a GGUF file, run by llama.cpp in a process of its own.

Requests of several threads are written side by side. The process is started when the model is
first asked, and again when it has died; it ends with its user.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.families import detect_family
from models.inspection import inspect_model
from models.llama_cpp.gguf import read_gguf
from models.llama_cpp.messages import Opening, completion_from, receive, request_document, send
from models.memory import cache_of
from models.protocol import (
    ChatRequest,
    Completion,
    ContextOverflow,
    Message,
    ModelError,
    OnDone,
    OnText,
    Say,
)
from models.token_choice import Sampling

MISSING = (
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
                raise ModelError(f"'{name}': {MISSING.format(package)}")
        self._name, self._folder, self._say = name, folder, say
        self._silence_s = silence_s
        bounds = [b for b in (facts.context_tokens, context_tokens) if b is not None]
        self._context = min(bounds, default=4096)
        gguf = read_gguf(Path(facts.path))
        family = detect_family(gguf.config(), f"{gguf.path.stem} {gguf.name}")
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
        self._worker: _Worker | None = None
        self._closed = False

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
            return int(message["tokens"])
        raise AssertionError("a question without an answer")

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
        if request.n < 1 or request.max_tokens < 1:
            raise ModelError(
                f"'{self._name}' was asked for {request.n} replies of {request.max_tokens} tokens"
            )
        done: dict[int, Completion] = {}
        for message in self._running().ask("complete", request):
            row = int(message["row"])
            if message["kind"] == "text":
                if on_text is not None:
                    on_text(row, message["what"])
                continue
            done[row] = completion_from(message["what"])
            if on_done is not None:
                on_done(row, done[row])
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
        """End the process."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        with self._starting:
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _running(self) -> _Worker:
        with self._starting:
            if self._closed:
                raise ModelError(f"'{self._name}' is closed")
            if self._worker is None or self._worker.died:
                self._say(f"llama.cpp loads '{self._name}'")
                self._worker = _Worker(self._opening, self._folder, self._silence_s)
            return self._worker


@dataclass
class _Failure:
    error: Exception


class _Worker:
    """The process, from its user's side.

    Raises:
        ModelError: it cannot load the model.
    """

    def __init__(self, opening: Opening, folder: Path, silence_s: float) -> None:
        self._name, self._silence_s = opening.name, silence_s
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "llama.log"
        ours, theirs = socket.socketpair()
        paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        with self._log.open("wb") as log, theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "models.llama_cpp.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    "PYTHONSAFEPATH": "1",
                },
                start_new_session=True,  # Ctrl-C is for the user of the model
            )
        self._socket, self._channel = ours, Connection(os.dup(ours.fileno()))
        self._sending = threading.Lock()
        self._inboxes: dict[int, queue.SimpleQueue[dict[str, Any] | _Failure]] = {}
        self._keys = itertools.count()
        self.died = False
        try:
            send(self._channel, opening.__dict__)
            first = receive(self._channel)
        except (OSError, EOFError):
            raise ModelError(self._death("while it loaded the model")) from None
        if first["kind"] == "failed":
            self._process.wait()
            raise ModelError(f"'{self._name}' cannot be loaded: {first['why']}")
        self.on_gpu = bool(first["on_gpu"])
        threading.Thread(target=self._listen, name="llama.cpp", daemon=True).start()

    def ask(self, kind: str, request: ChatRequest) -> Any:
        """Messages about a request, as they come. Not reading them to the end cancels it.

        Raises:
            ContextOverflow: it does not fit.
            ModelError: it came to nothing.
        """
        key = next(self._keys)
        inbox: queue.SimpleQueue[dict[str, Any] | _Failure] = queue.SimpleQueue()
        with self._sending:
            self._inboxes[key] = inbox
        try:
            self._send({"key": key, "kind": kind, "request": request_document(request)})
            while True:
                try:
                    found = inbox.get(timeout=self._silence_s)
                except queue.Empty:
                    raise ModelError(
                        f"llama.cpp's process for '{self._name}' said nothing for"
                        f" {self._silence_s:g} s: a slow machine, a long queue, or a chat template"
                        " without an end: raise models.request_timeout_s"
                    ) from None
                if isinstance(found, _Failure):
                    raise found.error
                if found["kind"] == "error":
                    raise (ContextOverflow if found["overflow"] else ModelError)(found["why"])
                yield found
        finally:
            with self._sending:
                self._inboxes.pop(key, None)
            if not self.died:
                self._send({"key": key, "kind": "cancel"})

    def close(self) -> None:
        """End the process: it ends with its socket, or is killed."""
        self.died = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread that listens
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            with self._sending:
                send(self._channel, message)
        except (OSError, EOFError):
            pass  # who listens tells of the death

    def _listen(self) -> None:
        """In a thread: hand messages to those who asked."""
        while True:
            try:
                message = receive(self._channel)
            except (OSError, EOFError, TypeError):
                break
            with self._sending:
                inbox = self._inboxes.get(message["key"])
            if inbox is not None:
                inbox.put(message)
        closed, self.died = self.died, True
        self._socket.close()
        self._channel.close()
        why = f"'{self._name}' is closed" if closed else self._death("in the middle of a reply")
        with self._sending:
            inboxes = list(self._inboxes.values())
        for inbox in inboxes:
            inbox.put(_Failure(ModelError(why)))

    def _death(self, when: str) -> str:
        code = self._process.wait()
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                how += " (by a user, or by the kernel for lack of memory: lower the context or the"
                how += " replies at once)"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = f"; it wrote last: {lines[-1][:200]}" if lines else ""
        return f"llama.cpp's process for '{self._name}' {how} {when}{said} (log: {self._log})"


def _threads() -> int:
    """Threads of computation: ``OMP_NUM_THREADS``, as elsewhere, or a thread for each processor.

    The threads wait for each other in every step, so more of them than processors that are free
    make it many times slower.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else len(os.sched_getaffinity(0))


def _token_bytes(config: Mapping[str, Any]) -> int:
    return max(1, cache_of(config).token_bytes)
