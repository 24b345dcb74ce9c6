"""Requests to the coder: their seeds, their keys, and the events that tell of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.protocol import ChatModel, Completion, Message, ModelError, OnText
from models.replay import request_key
from synth import events
from synth.config import SynthConfig
from synth.control import Steering
from synth.events import Emit
from synth.seeds import derive_seed


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


class Asking:
    """Asks the coder, one request after the other.

    Raises (from both methods):
        ModelError: the coder cannot answer, or gave another number of replies than was asked for.
        Interrupted: somebody said stop before the request went out.
    """

    def __init__(
        self,
        coder: ChatModel,
        config: SynthConfig,
        emit: Emit,
        steering: Steering,
        clock: Stopwatch,
    ) -> None:
        self._coder, self._config, self._emit = coder, config, emit
        self._steering, self._clock = steering, clock

    def opening(self, round_: int, messages: tuple[Message, ...]) -> dict[int, Completion]:
        """All candidates of a round, by slot, in one request."""
        name, count = f"r{round_}", self._config.candidates

        def on_text(index: int, text: str) -> None:
            self._emit(events.ReplyText(round_, index, 0, name, text))

        def on_sent(request: str, seed: int) -> None:
            self._emit(
                events.Prompted(round_, None, 0, name, request, count, seed, messages, new_from=0)
            )

        seed = derive_seed(self._config.seed, round_, "opening")
        request, replies = self._complete(messages, count, seed, on_sent, on_text)
        for index, reply in enumerate(replies):
            self._emit(events.Replied(round_, index, 0, name, request, index, count, reply))
        return dict(enumerate(replies))

    def repair(
        self, round_: int, slot: int, repair: int, messages: tuple[Message, ...]
    ) -> Completion:
        """One more reply in the conversation of one slot."""
        name = f"r{round_}.s{slot}"

        def on_text(_: int, text: str) -> None:
            self._emit(events.ReplyText(round_, slot, repair, name, text))

        def on_sent(request: str, seed: int) -> None:
            new_from = len(messages) - 1  # all but the newest answer has been told already
            self._emit(
                events.Prompted(round_, slot, repair, name, request, 1, seed, messages, new_from)
            )

        seed = derive_seed(self._config.seed, round_, slot, repair)
        request, replies = self._complete(messages, 1, seed, on_sent, on_text)
        self._emit(events.Replied(round_, slot, repair, name, request, 0, 1, replies[0]))
        return replies[0]

    def _complete(
        self,
        messages: tuple[Message, ...],
        n: int,
        seed: int,
        on_sent: Callable[[str, int], None],
        on_text: OnText,
    ) -> tuple[str, list[Completion]]:
        self._steering.checkpoint()
        temperature, max_tokens = self._config.temperature, self._config.max_tokens
        request = request_key(
            messages, n=n, seed=seed, temperature=temperature, max_tokens=max_tokens
        )
        on_sent(request, seed)
        with self._clock.running("model"):
            replies = self._coder.complete(
                messages,
                n=n,
                seed=seed,
                temperature=temperature,
                max_tokens=max_tokens,
                on_text=on_text,
            )
        if len(replies) != n:
            raise ModelError(
                f"'{self._coder.name}' returned {len(replies)} replies where {n} were asked for: "
                "check the model server's settings"
            )
        return request, replies
