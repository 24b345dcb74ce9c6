"""A small server that speaks OpenAI's protocol, on loopback; replies and faults are scripted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from models.openai_server import OpenAIModel
from models.protocol import Message

HELLO = [Message("system", "be brief"), Message("user", "hello")]
Answer = Callable[["Request"], None]


class Request:
    """One request, and what may be answered to it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self._handler = handler
        self.body = body
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}

    def json(self, document: Any, status: int = 200, **headers: str) -> None:
        """Answer with a JSON document."""
        data = json.dumps(document).encode()
        self._head(status, {"content-type": "application/json", **headers}, len(data))
        self._handler.wfile.write(data)

    def error(self, status: int, message: str, **headers: str) -> None:
        """Answer with an error as vLLM writes it."""
        self.json({"error": {"message": message, "code": status}}, status, **headers)

    def stream(self, **headers: str) -> None:
        """Begin a stream of events; it ends where the connection ends."""
        self._head(200, {"content-type": "text/event-stream", **headers}, None)

    def chunk(
        self,
        index: int,
        text: str = "",
        *,
        finish: str | None = None,
        tokens: int | None = None,
        prompt: int = 7,
    ) -> None:
        """A piece of one reply; with ``tokens``, as vLLM counts along."""
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        event: dict[str, Any] = {"id": "x", "object": "chat.completion.chunk", "created": 1}
        event |= {"model": "m", "choices": [choice]}
        if tokens is not None:
            event["usage"] = usage(prompt, tokens)
        self.event(event)

    def usage(self, prompt: int, tokens: int) -> None:
        """The closing chunk with the sums."""
        event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        self.event({**event, "choices": [], "usage": usage(prompt, tokens)})

    def done(self) -> None:
        """The end of a stream."""
        self.raw(b"data: [DONE]\n\n")

    def event(self, document: Any) -> None:
        """Any event."""
        self.raw(f"data: {json.dumps(document)}\n\n".encode())

    def raw(self, data: bytes) -> None:
        """Any bytes; before ``stream``, in place of a status line and headers."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def _head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name.replace("_", "-"), value)
        if length is not None:
            self._handler.send_header("content-length", str(length))
        self._handler.send_header("connection", "close")
        self._handler.end_headers()


def usage(prompt: int, tokens: int) -> dict[str, int]:
    """Token counts of an event."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
    }


class FakeOpenAI:
    """Answers chats by ``answer``; keeps every request."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: request.error(500, "nothing scripted")
        self.tokenize: Answer = lambda request: request.error(404, "Not Found")
        self.models: list[dict[str, Any]] = [{"id": "m", "max_model_len": 5000}]
        self.seen: list[Request] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                request = Request(self, {})
                fake.seen.append(request)
                if self.path == "/v1/models":
                    request.json({"object": "list", "data": fake.models})
                else:
                    request.error(404, "Not Found")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = Request(self, json.loads(body or b"{}"))
                fake.seen.append(request)
                try:
                    if self.path == "/v1/chat/completions":
                        fake.answer(request)
                    elif self.path == "/tokenize":
                        fake.tokenize(request)
                    else:
                        request.error(404, "Not Found")
                except (BrokenPipeError, ConnectionResetError):
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    @property
    def chats(self) -> list[Request]:
        """The chat requests so far."""
        return [r for r in self.seen if r.path == "/v1/chat/completions"]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_openai() -> Iterator[FakeOpenAI]:
    """A fake for a while."""
    fake = FakeOpenAI()
    try:
        yield fake
    finally:
        fake.close()


def asked_by(server: FakeOpenAI, **settings: Any) -> OpenAIModel:
    """A model that asks the fake, once for each request."""
    chosen: dict[str, Any] = {"url": server.url, "model_id": "m", "api_key": "k", "retries": 0}
    return OpenAIModel("mine", **{**chosen, **settings})


def says(*texts: str, finish: str = "stop") -> Answer:
    """Whole replies, one chunk each, counted as vLLM does."""

    def answer(request: Request) -> None:
        request.stream()
        for index, text in enumerate(texts):
            request.chunk(index, text, tokens=len(text))
        for index, text in enumerate(texts):
            request.chunk(index, "", finish=finish, tokens=len(text))
        request.done()

    return answer
