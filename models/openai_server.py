"""A chat model behind any server that speaks OpenAI's protocol: vLLM, llama.cpp, SGLang, ..."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from models.chunks import count, read_chunk
from models.connection import CONNECT_S, DONE, Connection
from models.constraints import violation
from models.delivery import Delivery, estimate_tokens
from models.openai_errors import (
    BrokenOff,
    Refusal,
    ServerBusy,
    ServerGone,
    overflow,
    refusal_inside,
    refused,
    refused_inside,
)
from models.protocol import (
    SMALLEST_CONTEXT,
    BadReply,
    ChatRequest,
    Completion,
    ContextOverflow,
    Message,
    ModelError,
    OnDone,
    OnText,
)
from models.reply_stream import ReplyStream
from models.urls import require_loopback

Dialect = Literal["vllm", "openai"]

_LONGEST_WAIT_S = 30.0
_CHUNK_BYTES = 4096
"""Bytes of a stream for every token, more than a chunk takes that holds one."""


class OpenAIModel:
    """Asks a running server. Several threads may ask at once.

    Args:
        name: How the user refers to the model.
        url: Of the server's API, such as ``http://127.0.0.1:8000/v1``; ``/v1`` is added to a URL
            without a path.
        model_id: The model's name on the server.
        api_key: Sent to this server only: redirects are not followed.
        context_tokens: Most tokens of a conversation and its reply. Without it the ``vllm`` dialect
            asks the server.
        timeout_s: Seconds of silence after which a request has failed.
        longest_s: Seconds after which a reply without an end has failed.
        dialect: ``vllm`` for vLLM's own extensions: grammars, exact token counts of each reply.
            ``openai`` for what others understand: JSON schemas by ``response_format``, no grammars.
        allow_remote: Whether the URL may lead away from this machine.
        retries: How often a request is asked again when the server is busy (429, 503) or broke the
            connection off. Nothing else is repeated.

    Raises:
        ModelError: the URL may not be asked (see ``models.urls``), no request can carry the key,
            or the package ``httpx2`` is not installed.
    """

    is_llm = True

    def __init__(
        self,
        name: str,
        *,
        url: str,
        model_id: str,
        api_key: str | None = None,
        context_tokens: int | None = None,
        timeout_s: float = 600.0,
        longest_s: float = 3600.0,
        dialect: Dialect = "vllm",
        allow_remote: bool = False,
        retries: int = 3,
    ) -> None:
        url = require_loopback(url, allow_remote)
        if not urlsplit(url).path:
            url += "/v1"
        self._name = name
        self.url = url
        self.model_id = model_id
        self.dialect = dialect
        self._context = context_tokens
        self._timeout_s, self._longest_s = timeout_s, longest_s
        self._retries = retries
        self._counts_exactly = dialect == "vllm"
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._server = Connection(name, url, api_key, timeout_s)

    @property
    def name(self) -> str:
        """The user's name for it."""
        return self._name

    @property
    def context_tokens(self) -> int | None:
        """As given, or as the server says (vLLM); ``None`` if neither."""
        if self._context is None and self.dialect == "vllm":
            try:
                self._learn_context()
            except ModelError:
                return None
        return self._context

    def served(self) -> dict[str, int | None]:
        """The models that the server offers, each with its context in tokens where it says so.

        Raises:
            ModelError: it cannot be asked.
        """
        try:
            document = self._server.document("GET", "/models", timeout_s=CONNECT_S)
        except Refusal as error:
            raise self._refused(error, 0) from None
        entries = document.get("data") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise BadReply(f"{self.url} sent what is no list of models")
        return {
            entry["id"]: _context(entry.get("max_model_len"))
            for entry in entries
            if isinstance(entry, dict) and _is_name(entry.get("id"))
        }

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation with its chat template, by vLLM's ``/tokenize``.

        Where a server has no such endpoint it is an estimate on the safe side.
        """
        counted = self._tokenize(messages) if self._counts_exactly else None
        return counted if counted is not None else estimate_tokens(messages)

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The replies to a request, written side by side.

        Tokens of each reply are exact with vLLM. Elsewhere a server tells only their sum, at the
        end: replies then reach ``on_done`` when the last is complete, and the sum is divided by the
        lengths of the texts. A server that answers fewer replies than were asked for is asked for
        the others one by one, with seeds ``seed + index``.

        A stream that breaks off again and again, that cannot be read or that has no end makes its
        unfinished replies come to nothing (``finish_reason`` is ``error``), and is no exception:
        another request may fare better.

        Raises:
            ContextOverflow: the conversation does not leave room for ``request.max_tokens``.
            ModelError: the model cannot answer.
        """
        delivery = Delivery(request.n, on_text, on_done)
        try:
            return self.answer(request, delivery)
        except (BadReply, BrokenOff) as error:
            delivery.fail(request, self._name, error)
            return delivery.replies()

    def answer(self, request: ChatRequest, delivery: Delivery) -> list[Completion]:
        """As ``complete``, into a delivery that may have got part of the replies already.

        Raises:
            BadReply: what the server sent is no reply, or had no end.
            BrokenOff: it broke off in the middle, again and again.
        """
        self._check(request)
        # vLLM refuses n > 1 without a temperature, where all replies are the same anyway.
        greedy = request.temperature == 0 and request.n > 1
        self._attempts(request, delivery, range(request.n) if greedy else None)
        for index in range(request.n):
            if not delivery.is_done(index):
                one = replace(request, n=1, seed=request.seed + index)
                self._attempts(one, delivery, range(index, index + 1))
        return delivery.replies()

    def _check(self, request: ChatRequest) -> None:
        if self._closed.is_set():
            raise self._closed_error()
        if request.constraint is not None and request.constraint.kind == "grammar":
            if self.dialect == "openai":
                raise ModelError(
                    f"'{self._name}' is asked by OpenAI's protocol, which knows no grammars: turn "
                    "constrained generation off, or use a vLLM server (dialect vllm)"
                )
            violation("", request.constraint, cut=True)  # a bad grammar is said before it is sent

    def _attempts(self, request: ChatRequest, delivery: Delivery, targets: range | None) -> None:
        """One request, repeated where that may help.

        Args:
            request: what is asked.
            delivery: Where its replies go.
            targets: Places of the one reply that is asked for; ``None``: each reply has its own.
        """
        for attempt in range(self._retries + 1):
            delivery.begin()
            try:
                self._attempt(request, delivery, targets)
                return
            except ServerBusy as error:
                wait_s = error.wait_s if error.wait_s is not None else 2.0**attempt
                if attempt == self._retries or wait_s > _LONGEST_WAIT_S:
                    raise
            except ServerGone as error:
                wait_s = 0.5 * 2.0**attempt
                if not error.again or attempt == self._retries:
                    raise
            if self._closed.wait(wait_s):
                raise self._closed_error()

    def _attempt(self, request: ChatRequest, delivery: Delivery, targets: range | None) -> None:
        replies = ReplyStream(
            request, delivery, name=self._name, targets=targets, started=time.monotonic()
        )
        most = (1 << 20) + replies.n * request.max_tokens * _CHUNK_BYTES
        body = self._body(request, targets)
        try:
            with self._server.events(
                "/chat/completions", body, most_bytes=most, longest_s=self._longest_s
            ) as documents:
                for document in documents:
                    if document is DONE:
                        replies.close()
                        break
                    error = refusal_inside(document)
                    if error is not None:
                        raise refused_inside(
                            error, name=self._name, url=self.url, max_tokens=request.max_tokens
                        )
                    chunk = read_chunk(document, replies.n)
                    used = replies.prompt_tokens(chunk)
                    if used is not None and not replies.begun:
                        self._require_room(used, request)
                    replies.take(chunk)
                    if replies.over:
                        break
        except Refusal as error:
            raise self._explained(error, request) from None
        if not replies.end():
            raise BrokenOff(f"{self.url} broke off before the reply was complete", again=True)

    def _require_room(self, prompt: int, request: ChatRequest) -> None:
        """vLLM shortens max_tokens silently where the context leaves less room."""
        context = self.context_tokens
        if context is not None and prompt + request.max_tokens > context:
            raise overflow(self._name, context, prompt, request.max_tokens)

    def _body(self, request: ChatRequest, targets: range | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model_id,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "n": 1 if targets is not None else request.n,
            "seed": request.seed,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.dialect == "vllm":
            body["stream_options"]["continuous_usage_stats"] = True
            if request.messages[-1].role == "assistant":  # its own message is gone on with
                body |= {"add_generation_prompt": False, "continue_final_message": True}
            if request.constraint is not None:
                body["structured_outputs"] = {request.constraint.kind: request.constraint.value}
        elif request.constraint is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "schema": request.constraint.value,
                    "strict": True,
                },
            }
        return body

    def _explained(self, refusal: Refusal, request: ChatRequest) -> ModelError:
        """A 404 is most often a wrong model name: say which names there are. An overflow whose
        numbers the server did not tell gets them.
        """
        if refusal.status == 404:
            try:
                offered = list(self.served())
            except ModelError:
                offered = []
            if offered and self.model_id not in offered:
                has = ", ".join(offered[:8])
                return ModelError(f"{self.url} has no model '{self.model_id}'; it has {has}")
        found = self._refused(refusal, request.max_tokens)
        if isinstance(found, ContextOverflow) and self.dialect == "vllm":
            try:
                prompt = self.count_tokens(request.messages)
            except ModelError:
                return found
            return overflow(self._name, self.context_tokens, prompt, request.max_tokens)
        return found

    def _closed_error(self) -> ServerGone:
        return ServerGone(f"the model '{self._name}' has been closed", again=False)

    def _refused(self, refusal: Refusal, max_tokens: int) -> ModelError:
        return refused(refusal, name=self._name, url=self.url, max_tokens=max_tokens)

    def _learn_context(self) -> None:
        with self._lock:
            if self._context is None:
                self._context = self.served().get(self.model_id)

    def _tokenize(self, messages: Sequence[Message]) -> int | None:
        """By vLLM's endpoint, which stands beside ``/v1``; ``None`` where it does not count. A
        server that has none is not asked again."""
        body = {
            "model": self.model_id,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
        }
        root = self.url.removesuffix("/v1")
        try:
            answer = self._server.document("POST", f"{root}/tokenize", body, timeout_s=60.0)
        except Refusal as error:
            self._counts_exactly = error.status != 404
            return None
        except ModelError as error:
            if isinstance(error, ServerGone) and not isinstance(error, BrokenOff):
                raise
            return None
        return count(answer.get("count")) or None if isinstance(answer, dict) else None

    def close(self) -> None:
        """Close the connections; requests that wait for another attempt give up."""
        self._closed.set()
        self._server.close()


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable()


def _context(value: Any) -> int | None:
    tokens = count(value)
    return tokens if tokens is not None and tokens >= SMALLEST_CONTEXT else None
