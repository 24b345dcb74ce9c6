"""Reading the chunks of a streamed chat completion into replies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from models.constraints import violation
from models.delivery import Ask, Delivery
from models.openai_errors import ServerGone
from models.protocol import Completion, ModelError


class ReplyStream:
    """Gathers one attempt's chunks and passes them on.

    Args:
        ask: What was asked.
        delivery: Where replies go.
        name: The model's name.
        targets: Places that the one reply of this request fills; ``None``: each has its own place.
        started: ``time.monotonic()`` when it was asked.
        estimate: Counts the prompt's tokens where the server does not say.
    """

    def __init__(
        self,
        ask: Ask,
        delivery: Delivery,
        *,
        name: str,
        targets: range | None,
        started: float,
        estimate: Callable[[], int],
    ) -> None:
        self._ask = ask
        self._delivery = delivery
        self._name = name
        self._targets = targets
        self._started = started
        self._estimate = estimate
        self._seen: set[int] = set()
        self._tokens: dict[int, int] = {}
        self._held: dict[int, tuple[Literal["stop", "length"], float]] = {}
        self._finished: set[int] = set()
        self._prompt: int | None = None
        self._sum: int | None = None
        self.begun = False
        """Whether any text has come."""

    def prompt_tokens(self, chunk: Any) -> int | None:
        """The prompt's tokens, if this chunk tells them."""
        usage = getattr(chunk, "usage", None)
        return None if usage is None else int(usage.prompt_tokens or 0)

    def take(self, chunk: Any) -> None:
        """Read one chunk.

        Raises:
            ServerGone: the server gave a reply up.
            ModelError: a reply ended as none may.
        """
        usage = getattr(chunk, "usage", None)
        choices: list[Any] = chunk.choices or []
        if usage is not None:
            self._prompt = int(usage.prompt_tokens or 0)
            if len(choices) == 1:  # vLLM's running count, of this reply alone
                self._tokens[choices[0].index] = int(usage.completion_tokens or 0)
            elif not choices:
                self._sum = int(usage.completion_tokens or 0)
        for choice in choices:
            index = choice.index
            if not 0 <= index < (1 if self._targets is not None else self._ask.n):
                continue
            self._seen.add(index)
            text = choice.delta.content if choice.delta is not None else None
            if text:
                self.begun = True
                for place in self._places(index):
                    self._delivery.text(place, text)
            if choice.finish_reason is not None:
                self._ended(index, choice.finish_reason)

    def _ended(self, index: int, reason: str) -> None:
        latency = time.monotonic() - self._started
        if reason == "stop":
            self._held[index] = ("stop", latency)
        elif reason == "length":
            self._held[index] = ("length", latency)
        elif reason in ("abort", "error"):
            raise ServerGone(f"the server of '{self._name}' gave a reply up", again=True)
        else:
            raise ModelError(f"a reply of '{self._name}' ended by '{reason}', which is no text")
        if index in self._tokens:
            self._pass_on(index, self._tokens[index])

    def end(self) -> bool:
        """The stream is over: pass on what waited for the sum of tokens.

        Returns:
            Whether all replies that were begun are complete, and at least one was.
        """
        waiting = [i for i in self._held if i not in self._finished]
        for index, tokens in zip(waiting, self._shares(waiting), strict=True):
            self._pass_on(index, tokens)
        return bool(self._seen) and self._seen == self._finished

    def _shares(self, waiting: list[int]) -> list[int]:
        """The sum of tokens divided by the texts' lengths, so that it stays the sum."""
        sizes = [len(self._written(i).encode()) for i in waiting]
        if self._sum is None:
            return [max(1, round(size / 4)) for size in sizes]
        left, size_left = self._sum, sum(sizes)
        shares = []
        for place, size in enumerate(sizes):
            last = place == len(sizes) - 1
            share = left if last else round(left * size / size_left) if size_left else 0
            shares.append(share)
            left -= share
            size_left -= size
        return shares

    def _places(self, index: int) -> range:
        return self._targets if self._targets is not None else range(index, index + 1)

    def _written(self, index: int) -> str:
        return self._delivery.written(self._places(index)[0])

    def _pass_on(self, index: int, tokens: int) -> None:
        self._finished.add(index)
        reason, latency = self._held[index]
        if self._prompt is None:
            self._prompt = self._estimate()
        places = self._places(index)
        if all(self._delivery.is_done(place) for place in places):
            return
        text = self._written(index)
        broken = violation(text, self._ask.constraint, cut=reason == "length")
        for place in places:
            self._delivery.finish(
                place,
                Completion(
                    text=text,
                    model=self._name,
                    seed=self._ask.seed,
                    prompt_tokens=self._prompt,
                    completion_tokens=tokens,
                    latency_s=latency,
                    finish_reason=reason,
                    violation=broken,
                ),
            )
