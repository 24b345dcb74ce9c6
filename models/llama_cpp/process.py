"""The process that holds the model, from its user's side: started, asked, ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from models.llama_cpp.messages import NoMessage, Opening, receive, send
from models.protocol import ChatRequest, ContextOverflow, ModelError

ODD = "llama.cpp's process answered what is no answer"
_LOOK_S = 0.2


@dataclass
class _Failure:
    error: Exception


class WorkerProcess:
    """The process, from its user's side.

    Raises:
        ModelError: it cannot load the model.
    """

    def __init__(
        self, opening: Opening, folder: Path, silence_s: float, closed: threading.Event
    ) -> None:
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
        first = self._first(opening, closed)
        if first.get("kind") != "ready":
            self.close()
            raise ModelError(f"'{self._name}' cannot be loaded: {first.get('why', ODD)}")
        self.on_gpu = bool(first.get("on_gpu"))
        threading.Thread(target=self._listen, name="llama.cpp", daemon=True).start()

    def _first(self, opening: Opening, closed: threading.Event) -> dict[str, Any]:
        """The first message, when the model is loaded or cannot be.

        Raises:
            ModelError: there is none.
        """
        until = time.monotonic() + self._silence_s
        try:
            send(self._channel, opening.__dict__)
            while not self._channel.poll(_LOOK_S):
                if closed.is_set() or time.monotonic() > until:
                    self.close()
                    raise ModelError(
                        f"'{self._name}' is closed"
                        if closed.is_set()
                        else f"llama.cpp did not load '{self._name}' within {self._silence_s:g} s:"
                        " raise models.request_timeout_s, or look at the file's chat template"
                    )
            return receive(self._channel)
        except (OSError, NoMessage):
            raise ModelError(self._death("while it loaded the model")) from None

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
            self._send({"key": key, "kind": kind, "request": asdict(request)})
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
                if found.get("kind") == "error":
                    overflow = found.get("overflow") is True
                    raise (ContextOverflow if overflow else ModelError)(str(found.get("why")))
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
        with contextlib.suppress(OSError), self._sending:  # who listens tells of the death
            send(self._channel, message)

    def _listen(self) -> None:
        """In a thread: hand messages to those who asked."""
        while True:
            try:
                message = receive(self._channel)
            except NoMessage:
                break
            key = message.get("key")
            with self._sending:
                inbox = self._inboxes.get(key) if isinstance(key, int) else None
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
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:  # it lives, and says what is no message
            self._process.kill()
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
