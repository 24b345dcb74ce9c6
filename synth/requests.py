"""Requests to models: sent together, cancelled together, reported as they happen."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from models.protocol import (
    ChatModel,
    ChatRequest,
    Completion,
    Constraint,
    ContextOverflow,
    Message,
    ModelError,
    Purpose,
)
from models.replay import NotRecorded, request_key
from synth import events
from synth.control import ControlPoll
from synth.events import Emit
from synth.replies import advice_to_user

_POLL_S = 0.05
_PATIENCE_S = 2.0
"""Seconds that a cancelled request may take to end before it is left to itself."""
_MOST_AT_ONCE = 64
"""Requests under way at the same time; a server queues more of them anyway."""


@dataclass(frozen=True)
class Variant:
    """One way to put a request, as long as the model's context allows."""

    messages: tuple[Message, ...]
    left_out: str = ""
    """Contents of a fuller variant that are missing here, in words."""
    new_from: int = 0
    """Index of the first message that was not told of before."""


@dataclass(frozen=True)
class SearchRequest:
    """Something to ask of a model."""

    role: Purpose
    round: int
    slot: int | None
    """``None`` where every reply has a slot of its own, and for an evaluator."""
    repair: int
    conversation: str
    variants: tuple[Variant, ...]
    """The fullest first; the first that fits the context is sent."""
    n: int
    seed: int
    temperature: float
    max_tokens: int
    constraint: Constraint | None = None

    def chat(self, variant: Variant) -> ChatRequest:
        """The request to the model, in one of its variants."""
        return ChatRequest(
            variant.messages,
            self.n,
            self.seed,
            self.temperature,
            self.max_tokens,
            self.constraint,
        )


def _named(request: SearchRequest, variant: int, conversation: str) -> str:
    """A request that leaves something out stands alone: nothing else is written into its place."""
    if not variant:
        return conversation
    correction = f".{request.repair}" if request.repair else ""
    return f"{conversation}{correction}-{variant}"


OnReply = Callable[[SearchRequest, int, Completion], None]
"""Called with (request, place among its replies, reply) as each is complete."""


class Stopwatch:
    """Adds up how long the named parts of a job took, in seconds."""

    def __init__(self, *parts: str) -> None:
        self.seconds = dict.fromkeys(parts, 0.0)

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        """Count what happens inside to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start


class _Cancelled(Exception):
    """Raised inside a model's callback, to end its request."""


class RequestSender:
    """Sends requests to one model, all at once, and tells of them in the caller's thread.

    Args:
        model: Who is asked.
        emit: Told everything as it happens, never from another thread.
        control_poll: Asked for pauses and stops while requests are under way.
    """

    def __init__(self, model: ChatModel, emit: Emit, control_poll: ControlPoll) -> None:
        self.model = model
        self._emit, self._steering = emit, control_poll
        self._warned: set[str] = set()

    def _warn(self, text: str) -> None:
        """Note something once, however many replies it is true of."""
        if text and text not in self._warned:
            self._warned.add(text)
            self._emit(events.Noted(text, "warning"))

    def send(
        self,
        requests: Sequence[SearchRequest],
        on_reply: OnReply,
        meanwhile: Callable[[], None] = lambda: None,
        unfit: Callable[[SearchRequest], None] | None = None,
    ) -> None:
        """Return when every request is answered. ``meanwhile`` is called again and again.

        ``unfit`` is told of requests that fit the model's context in no way; without it they are an
        error.

        Raises:
            ModelError: the model cannot answer one of them, or gave another number of replies than
                was asked for. What was answered before has been told.
            Interrupted: the search was told to stop. Requests under way are cancelled.
        """
        self._steering.checkpoint()
        inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        cancelled = threading.Event()
        open_ = set(range(len(requests)))
        failures: list[Exception] = []

        def too_long(request: SearchRequest, error: ContextOverflow) -> None:
            if unfit is None:
                failures.append(error)
                return
            self._emit(events.Noted(f"a correction is given up: {error}", "warning"))
            unfit(request)

        def work(at: int) -> None:
            try:
                self._ask(requests[at], inbox, cancelled, on_reply)
            except _Cancelled:
                pass
            except ContextOverflow as error:
                inbox.put(lambda error=error: too_long(requests[at], error))  # type: ignore[misc]
            except Exception as error:  # noqa: BLE001 (it is raised again in the caller's thread)
                inbox.put(lambda error=error: failures.append(error))  # type: ignore[misc]
            finally:
                inbox.put(lambda: open_.discard(at))

        left = iter(range(len(requests)))
        taking = threading.Lock()

        def take() -> None:
            while not cancelled.is_set():
                with taking:
                    at = next(left, None)
                if at is None:
                    return
                work(at)

        workers = [
            threading.Thread(target=take, name=f"request-{i}", daemon=True)
            for i in range(min(_MOST_AT_ONCE, len(requests)))
        ]
        try:
            for worker in workers:
                worker.start()
            while open_ and not failures:
                self._steering.checkpoint()
                meanwhile()
                try:
                    inbox.get(timeout=_POLL_S)()
                except queue.Empty:
                    continue
        finally:
            cancelled.set()
            until = time.monotonic() + _PATIENCE_S
            for worker in workers:  # one that loads a model or starts a server ends with the model
                worker.join(max(0.0, until - time.monotonic()))
            while not inbox.empty():  # replies that were complete all the same
                inbox.get()()
        if failures:
            raise failures[0]

    def _ask(
        self,
        request: SearchRequest,
        inbox: queue.SimpleQueue[Callable[[], None]],
        cancelled: threading.Event,
        on_reply: OnReply,
    ) -> None:
        """In a thread of its own: everything that tells is put into the inbox."""
        last = len(request.variants) - 1
        for at, variant in enumerate(request.variants):
            if at < last and not self._fits(variant, request):
                continue
            exchange = _Exchange(request, at, self.model, self._emit, self._warn, on_reply)
            try:
                exchange.run(inbox, cancelled)
            except (ContextOverflow, NotRecorded):
                # A model that cannot count its context refuses instead. A strict replay knows no
                # context at all: the variant that was sent is the one that is in its record.
                if at == last:
                    raise
            else:
                return

    def _fits(self, variant: Variant, request: SearchRequest) -> bool:
        limit = self.model.context_tokens
        if limit is None:
            return True
        return self.model.count_tokens(variant.messages) + request.max_tokens <= limit


class _Exchange:
    """One request in one of its variants: what goes out, what comes back, and the telling of it."""

    def __init__(
        self,
        request: SearchRequest,
        variant: int,
        model: ChatModel,
        emit: Emit,
        warn: Callable[[str], None],
        on_reply: OnReply,
    ) -> None:
        self._request, self._at, self._model = request, variant, model
        self._variant = request.variants[variant]
        self._emit, self._warn, self._on_reply = emit, warn, on_reply
        self._chat = request.chat(self._variant)
        self._key = request_key(self._chat)
        self._told = False

    def run(self, inbox: queue.SimpleQueue[Callable[[], None]], cancelled: threading.Event) -> None:
        """Ask, and put into the inbox what is to be told."""
        request, done = self._request, set[int]()

        def on_text(index: int, text: str) -> None:
            if cancelled.is_set():
                raise _Cancelled
            inbox.put(lambda: self._text(index, text))

        def on_done(index: int, reply: Completion) -> None:
            done.add(index)
            inbox.put(lambda: self._reply(index, reply))

        if self._at == len(request.variants) - 1 or self._model.context_tokens is not None:
            inbox.put(self._prompt)  # otherwise it may be refused yet, for being too long
        replies = self._model.complete(self._chat, on_text=on_text, on_done=on_done)
        if len(replies) != request.n:
            raise ModelError(
                f"'{self._model.name}' returned {len(replies)} replies where {request.n} were "
                "asked for: check the model server's settings"
            )
        for index, reply in enumerate(replies):
            if index not in done:  # a model may leave ``on_done`` to us
                on_done(index, reply)

    def _prompt(self) -> None:
        if self._told:
            return
        self._told = True
        request, variant = self._request, self._variant
        self._emit(
            events.Prompted(
                request.role,
                request.round,
                request.slot,
                request.repair,
                _named(request, self._at, request.conversation),
                self._key,
                request.n,
                request.seed,
                variant.messages,
                new_from=0 if self._at else variant.new_from,
                left_out=variant.left_out,
            )
        )

    def _place(self, index: int) -> tuple[Purpose, int, int | None, int, str, int]:
        """Role, round, slot, repair, conversation and position of a reply."""
        request, slot, conversation = self._request, self._request.slot, self._request.conversation
        if request.role == "coder" and slot is None:
            slot, conversation = index, f"{conversation}.s{index}"
        conversation = _named(request, self._at, conversation)
        position = len(self._variant.messages)
        return request.role, request.round, slot, request.repair, conversation, position

    def _text(self, index: int, text: str) -> None:
        self._prompt()
        self._emit(events.ReplyText(*self._place(index), text))

    def _reply(self, index: int, reply: Completion) -> None:
        self._prompt()
        told = advice_to_user(reply)
        self._warn(f"a reply of '{self._model.name}': {told}" if told else "")
        if reply.violation:
            self._warn(_ignored(self._model, self._request, reply))
        self._emit(events.Replied(*self._place(index), self._key, index, self._request.n, reply))
        self._on_reply(self._request, index, reply)


def _ignored(model: ChatModel, request: SearchRequest, reply: Completion) -> str:
    kind = request.constraint.kind if request.constraint else "none"
    return (
        f"'{model.name}' did not keep to the {kind} constraint ({reply.violation}): its server "
        "seems to ignore constraints"
    )
