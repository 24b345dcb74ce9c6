"""Replies to one request, passed on once, however many attempts they take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.protocol import ChatRequest, Completion, Message, ModelError, OnDone, OnText


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Estimate, on the safe side, the tokens of a conversation that cannot be counted: two for five
    bytes of UTF-8 (English and code are nearer to one for four) and 16 for each message."""
    return sum(math.ceil(0.4 * len(m.content.encode(errors="replace"))) + 16 for m in messages)


class Delivery:
    """Passes pieces of text and finished replies on, each once.

    When a server dies in mid-reply the request is asked again from its beginning, and, being the
    same request, is answered by the same texts: what was passed on already is then held back.
    Should the second text differ nevertheless, the pieces of an unfinished reply are those of the
    first text up to where it broke off; the finished reply is what counts.
    """

    def __init__(self, n: int, on_text: OnText | None, on_done: OnDone | None) -> None:
        self._n = n
        self._on_text = on_text
        self._on_done = on_done
        self._passed = [0] * n
        self._written = [""] * n
        self._done: dict[int, Completion] = {}

    def begin(self) -> None:
        """A new attempt: unfinished replies are written from their beginning."""
        for index in range(self._n):
            if index not in self._done:
                self._written[index] = ""

    def text(self, index: int, piece: str) -> None:
        """Another piece of a reply. What the caller's function raises goes through."""
        if index in self._done or not piece:
            return
        self._written[index] += piece
        new = self._written[index][self._passed[index] :]
        if new:
            self._passed[index] += len(new)
            if self._on_text is not None:
                self._on_text(index, new)

    def written(self, index: int) -> str:
        """The reply as far as this attempt has it."""
        return self._written[index]

    def finish(self, index: int, completion: Completion) -> None:
        """A reply is complete; a second completion of the same reply is ignored."""
        if index in self._done:
            return
        self._done[index] = completion
        if self._on_done is not None:
            self._on_done(index, completion)

    def fail(self, request: ChatRequest, name: str, error: ModelError) -> None:
        """Complete what is not complete yet as replies that came to nothing.

        Args:
            request: what was asked.
            name: The model's name.
            error: Why.
        """
        for index in range(self._n):
            text = self._written[index]
            failed = Completion(
                text=text,
                model=name,
                seed=request.seed,
                prompt_tokens=estimate_tokens(request.messages),
                completion_tokens=round(len(text) / 4),
                latency_s=0.0,
                finish_reason="error",
                note=str(error),
            )
            self.finish(index, failed)

    def is_done(self, index: int) -> bool:
        """Whether that reply is complete."""
        return index in self._done

    def replies(self) -> list[Completion]:
        """All replies in their places; only once all are complete."""
        return [self._done[index] for index in range(self._n)]
