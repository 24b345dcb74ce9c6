"""HTTP to a model server, which may send anything: our key, nothing of the environment, no
redirects, no compression, and an end to every answer in bytes and in seconds.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from models.openai_errors import (
    BrokenOff,
    Refusal,
    ServerGone,
    one_line,
    refusal_inside,
    silent,
    unreachable,
)
from models.protocol import BadReply, ModelError
from models.urls import is_loopback

if TYPE_CHECKING:
    import httpx2

CONNECT_S = 10.0
"""Seconds that connecting may take."""
_DOCUMENT_S = 60.0
"""Seconds that an answer may take which is no reply of a model."""
_DOCUMENT_BYTES = 4 << 20
"""Most bytes of a JSON document, be it a whole answer or one event of a stream."""
_REFUSAL_BYTES = 64 << 10
"""Bytes that are read of an error page."""
_BOM = b"\xef\xbb\xbf"

DONE = object()
"""Stands among the documents of a stream where the server says that there are no more."""


def _closing(client: httpx2.Client, seconds: float) -> threading.Timer:
    """A watch, started, that ends a client's requests after some seconds."""
    watch = threading.Timer(seconds, client.close)
    watch.daemon = True
    watch.start()
    return watch


class Connection:
    """Requests to one server. Several threads may ask at once; every request has a connection of
    its own, so that ending one leaves the others alone.

    Args:
        name: Of the model, for messages.
        url: Of the API.
        api_key: To send; ``None`` sends none.
        timeout_s: Seconds of silence after which a request has failed.

    Raises:
        ModelError: the package ``httpx2`` is not installed, or no header can carry the key.
    """

    def __init__(self, name: str, url: str, api_key: str | None, timeout_s: float) -> None:
        try:
            import httpx2
        except ImportError:
            raise ModelError(
                "servers need the package httpx2: pip install -e '.[models]'"
            ) from None
        if api_key and not re.fullmatch(r"[!-~]+", api_key):
            raise ModelError(
                f"the key of '{name}' holds blanks or foreign letters, which no request can carry: "
                "set the variable to the key alone"
            )
        self._name, self.url, self._timeout_s = name, url, timeout_s
        self._proxies = not is_loopback(urlsplit(url).hostname or "")
        secure = self._proxies or url.startswith("https:")
        self._verify = httpx2.create_ssl_context() if secure else False  # slow to make, so once
        self._headers = {
            "accept": "*/*", "accept-encoding": "identity", "content-type": "application/json",
            "user-agent": "qllm",
        }  # fmt: skip
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._lock = threading.Lock()
        self._open: set[httpx2.Client] = set()
        self._closed = False

    def document(self, method: str, path: str, body: Any = None, *, timeout_s: float) -> Any:
        """The JSON that the server answers to a small question.

        Args:
            method: HTTP method.
            path: What follows the server's URL, or a whole URL.
            body: JSON to send.
            timeout_s: Seconds of silence after which the request has failed.

        Raises:
            Refusal: the server's status is not 200.
            ModelError: the server does not answer, or not in JSON.
        """
        limits = (_DOCUMENT_BYTES, _DOCUMENT_S)
        with self._exchange(method, path, body, timeout_s, *limits) as (_, pieces):
            return self._json(self._whole(pieces))

    @contextmanager
    def events(
        self, path: str, body: Any, *, most_bytes: int, longest_s: float
    ) -> Iterator[Iterator[Any]]:
        """The JSON documents of a stream of server-sent events, as they come, and ``DONE`` at its
        end. A server that does not stream answers with one document.

        Args:
            path: What follows the server's URL.
            body: JSON to send.
            most_bytes: Bytes after which the stream is ended.
            longest_s: Seconds after which it is ended.

        Raises:
            Refusal: the server's status is not 200.
            BrokenOff: the stream broke in the middle.
            BadReply: what came is no stream of JSON, or had no end.
            ModelError: the server does not answer.
        """
        limits = (most_bytes, longest_s)
        with self._exchange("POST", path, body, self._timeout_s, *limits) as (kind, pieces):
            if kind.startswith("application/json"):
                yield iter([self._json(self._whole(pieces))])
            else:
                yield self._events(pieces)

    def close(self) -> None:
        """End every request; nothing can be asked any more."""
        with self._lock:
            self._closed = True
            clients = list(self._open)
        for client in clients:
            client.close()

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: Any, timeout_s: float, most_bytes: int, longest_s: float
    ) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The answer's content type and the pieces of its body."""
        import httpx2

        client = httpx2.Client(
            verify=self._verify,
            trust_env=self._proxies,
            follow_redirects=False,
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_S),
        )
        with self._lock:
            if self._closed:
                client.close()
                raise self._closed_error()
            self._open.add(client)
        # A server may also drip its headers, or send interim ones for ever, where nothing of ours
        # runs between two bytes.
        until = time.monotonic() + longest_s
        head_s = min(longest_s, timeout_s + CONNECT_S)
        watch = _closing(client, head_s)
        try:
            content = json.dumps(body).encode("ascii") if body is not None else None
            url = path if "://" in path else self.url + path
            try:
                request = client.build_request(method, url, content=content, headers=self._headers)
                answer = client.send(request, stream=True)
            except (httpx2.HTTPError, httpx2.InvalidURL, RuntimeError, OSError) as error:
                raise self._ended(until - longest_s + head_s, head_s) or unreachable(
                    error, name=self._name, url=self.url, timeout_s=timeout_s
                ) from None
            watch.cancel()
            watch = _closing(client, max(0.0, until - time.monotonic()))
            pieces = self._pieces(answer, timeout_s, most_bytes, until, longest_s)
            if answer.status_code != 200:
                raise self._refusal(answer, pieces)
            yield answer.headers.get("content-type", "").lower(), pieces
        finally:
            watch.cancel()
            client.close()
            with self._lock:
                self._open.discard(client)

    def _pieces(
        self,
        answer: httpx2.Response,
        timeout_s: float,
        most_bytes: int,
        until: float,
        longest_s: float,
    ) -> Iterator[bytes]:
        import httpx2

        encoding = answer.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise BadReply(
                f"{self.url} compresses its answer ({one_line(encoding, 20)}) although it was asked"
                " not to"
            )
        raw, size = answer.iter_raw(), 0
        while True:
            try:
                piece = next(raw, None)
            except httpx2.TimeoutException:
                raise silent(name=self._name, url=self.url, timeout_s=timeout_s) from None
            except (httpx2.HTTPError, httpx2.StreamError, RuntimeError, OSError):
                raise self._ended(until, longest_s) or BrokenOff(
                    f"{self.url} broke the connection off in the middle of a reply", again=True
                ) from None
            if piece is None:
                return
            size += len(piece)
            if size > most_bytes:
                raise BadReply(f"{self.url} sent {size:,} bytes and no end of its answer")
            if time.monotonic() > until:
                raise self._too_long(longest_s)
            yield piece

    def _ended(self, until: float, longest_s: float) -> ModelError | None:
        """The error of a request that we ended ourselves."""
        if self._closed:
            return self._closed_error()
        return self._too_long(longest_s) if time.monotonic() >= until else None

    def _too_long(self, longest_s: float) -> BadReply:
        return BadReply(
            f"{self.url} came to no end of its answer within {longest_s:g} s: raise "
            "models.reply_timeout_s if this machine is that slow"
        )

    def _closed_error(self) -> ServerGone:
        return ServerGone(f"the model '{self._name}' has been closed", again=False)

    def _refusal(self, answer: httpx2.Response, pieces: Iterator[bytes]) -> Refusal:
        data = bytearray()
        try:
            for piece in pieces:
                data += piece
                if len(data) > _REFUSAL_BYTES:
                    break
        except ModelError:
            pass  # the status says enough
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = bytes(data[:2000]).decode(errors="replace")
        return Refusal(answer.status_code, document, answer.headers.get("retry-after", ""))

    def _events(self, pieces: Iterator[bytes]) -> Iterator[Any]:
        """The documents of the ``data:`` lines."""
        heard, stray, kind = False, b"", b""
        for line, ended in self._lines(pieces):
            field, _, value = line.removeprefix(_BOM).partition(b":")
            value = value.strip()
            if field == b"data":
                heard = True
                if value == b"[DONE]":
                    yield DONE
                    return
                if not ended and not value.endswith(b"}"):
                    return  # cut in the middle: how the replies stand says the rest
                if value:
                    document = self._json(value)
                    told = kind == b"error" and refusal_inside(document) is None
                    yield {"error": document} if told else document
            elif field == b"event":
                kind = value
            elif not line:
                kind = b""
            elif field and field not in (b"id", b"retry"):
                stray = stray or line
        if stray and not heard:
            raise BadReply(f"{self.url} sent what is no reply: {self._quoted(stray)}")

    def _lines(self, pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
        """Lines, and whether each was ended; the last may not be."""
        held = bytearray()
        for piece in pieces:
            held += piece
            if b"\n" in piece:
                *lines, rest = held.split(b"\n")
                held = bytearray(rest)
                yield from ((bytes(line).rstrip(b"\r"), True) for line in lines)
            self._bounded(len(held))
        yield bytes(held), False

    def _whole(self, pieces: Iterator[bytes]) -> bytes:
        held = bytearray()
        for piece in pieces:
            held += piece
            self._bounded(len(held))
        return bytes(held)

    def _bounded(self, size: int) -> None:
        if size > _DOCUMENT_BYTES:
            raise BadReply(f"{self.url} sent a single event of more than {_DOCUMENT_BYTES:,} bytes")

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data.decode("utf-8-sig", errors="replace"))
        except (ValueError, RecursionError):
            raise BadReply(f"{self.url} sent what is no JSON: {self._quoted(data)}") from None

    def _quoted(self, data: bytes) -> str:
        if b"\0" in data[:200]:
            return "it is not in UTF-8"
        return repr(one_line(data[:400].decode(errors="replace"), 60))
