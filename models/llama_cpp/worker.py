"""The process that holds the model: ``python -m models.llama_cpp.worker FD``.

It answers over the socket FD in JSON: first an `Opening` comes in, and ``ready`` or ``failed`` goes
out; then requests come in, and what becomes of them goes out as it happens. The end of the socket
ends the process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jinja2

from models.chat_template import ChatTemplate
from models.llama_cpp.batching import Batch, Job
from models.llama_cpp.library import LlamaFile, Size
from models.llama_cpp.messages import NoMessage, Opening, receive, request_from, send
from models.llama_cpp.tokenizer import GgufTokenizer
from models.protocol import ContextOverflow, ModelError
from models.token_choice import Sampling

_LOOK_S = 1.0


class _Worker:
    def __init__(self, channel: Connection, opening: Opening) -> None:
        self._channel = channel
        size = Size(
            opening.cells, 2 * opening.rows + 1, opening.threads, -1 if opening.may_be_gpu else 0
        )
        file = LlamaFile(Path(opening.path), size)
        self.on_gpu = file.on_gpu
        if opening.must_be_gpu and not file.on_gpu:
            raise ModelError(
                "it is to run on a GPU, but llama.cpp was compiled without one: choose --device"
                " cpu, or compile it anew (CMAKE_ARGS=-DGGML_CUDA=on)"
            )
        try:
            tokenizer = GgufTokenizer(file, opening.template)
        except jinja2.TemplateError as error:
            raise ModelError(f"its chat template cannot be read: {error}") from None
        self._template = ChatTemplate(tokenizer, opening.variables)
        self._batch = Batch(
            file,
            self._template,
            tokenizer,
            opening.name,
            opening.context,
            opening.rows,
            Sampling(opening.top_k, opening.top_p),
        )
        self._jobs: dict[int, Job] = {}

    def run(self) -> None:
        """Answer until the socket ends."""
        while True:
            while not self._batch.busy or self._channel.poll(0):
                self._take(receive(self._channel))
            try:
                self._batch.step()
            except ModelError as error:
                for key in list(self._jobs):
                    self._fail(key, error)

    def _take(self, message: dict[str, Any]) -> None:
        key = message["key"]
        if message["kind"] == "cancel":
            job = self._jobs.pop(key, None)
            if job is not None:
                self._batch.cancel(job)
            return
        try:
            request = request_from(message["request"])
            if message["kind"] == "count":
                tokens = len(self._template.encode(request.messages))
                send(self._channel, {"key": key, "kind": "count", "tokens": tokens})
                return
            self._jobs[key] = self._batch.add(
                request, lambda kind, row, what: self._tell(key, kind, row, what)
            )
        except ModelError as error:
            self._fail(key, error)

    def _tell(self, key: int, kind: str, row: int, what: Any) -> None:
        if kind == "done":
            what = asdict(what)
        send(self._channel, {"key": key, "kind": kind, "row": row, "what": what})

    def _fail(self, key: int, error: ModelError) -> None:
        job = self._jobs.pop(key, None)
        if job is not None:
            self._batch.cancel(job)
        overflow = isinstance(error, ContextOverflow)
        send(self._channel, {"key": key, "kind": "error", "why": str(error), "overflow": overflow})


def main() -> None:
    """Serve the process at the other end of the socket."""
    threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    channel = Connection(int(sys.argv[1]))
    try:
        try:
            worker = _Worker(channel, Opening(**receive(channel)))
        except ModelError as error:
            send(channel, {"kind": "failed", "why": str(error)})
            return
        send(channel, {"kind": "ready", "on_gpu": worker.on_gpu})
        worker.run()
    except (NoMessage, BrokenPipeError, ConnectionResetError):
        return


def _end_with(parent: int) -> None:
    """In a thread: end with the parent, whatever the other thread is at."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


if __name__ == "__main__":
    main()
