"""The protocol that every chat model speaks: a served LLM, one in process, a sampler, a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]
"""Author of a message."""
Purpose = Literal["coder", "evaluator"]
"""Task of a model in a search: writing candidates, or judging them."""

SMALLEST_CONTEXT = 64
"""Tokens of a context below which a number cannot be one."""


class ModelError(RuntimeError):
    """A model cannot answer; the message says why and what to do."""


class ContextOverflow(ModelError):
    """The conversation and the reply that was asked for do not fit the model's context."""


class BadReply(ModelError):
    """A server's answer is no reply, or has no end; the next request may fare better."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Constraint:
    """Form that a reply must have. The caller validates replies again."""

    kind: Literal["json", "grammar"]
    value: dict[str, Any] | str
    """A JSON schema for ``json``, a Lark grammar for ``grammar``."""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to be answered: everything that its replies depend on."""

    messages: Sequence[Message]
    """Where the last is the assistant's, replies go on with it; their texts are what follows it."""
    n: int = 1
    """Replies."""
    seed: int = 0
    temperature: float = 1.0
    max_tokens: int = 2048
    """Most tokens in one reply."""
    constraint: Constraint | None = None


@dataclass(frozen=True)
class Completion:
    """One reply, with what it cost."""

    text: str
    model: str
    seed: int | None
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    finish_reason: Literal["stop", "length", "error"] = "stop"
    """``length``: the token limit ended it. ``error``: it broke off or was no reply at all, and
    ``note`` says why; ``text`` is what had come by then."""
    note: str = ""
    """Remark for the user on how it came, such as that the server cut the conversation off;
    empty if nothing."""
    violation: str = ""
    """The text's violation of the requested constraint, in words; empty if it keeps to it, or
    if none was asked for. A reply cut by the token limit is held to what it has."""


Say = Callable[[str], None]
"""Told what a user should know while a model is opened or starts, a line at a time."""

OnText = Callable[[int, str], None]
"""Called with (index of the completion, new text) while replies are being written. What it raises
ends the request and reaches the caller of ``complete``: this is how a request is cancelled."""

OnDone = Callable[[int, Completion], None]
"""Called with (index, completion) as each reply is complete, in the order in which they end."""


@runtime_checkable
class ChatModel(Protocol):
    """Anything that answers a conversation. Several threads may ask it at once."""

    @property
    def name(self) -> str:
        """The user's name for it."""
        ...

    @property
    def is_llm(self) -> bool:
        """False for the embedded sampler, which must never be shown as a language model."""
        ...

    @property
    def context_tokens(self) -> int | None:
        """Most tokens of a conversation and its reply together; ``None`` if there is no limit, or
        none is known."""
        ...

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation as the model reads it, its chat template included.

        Raises:
            ModelError: it cannot be counted.
        """
        ...

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The replies to a request; the same request gets the same replies.

        Raises:
            ContextOverflow: the conversation does not leave room for ``request.max_tokens``.
            ModelError: the model cannot answer.
        """
        ...

    def close(self) -> None:
        """Release what the model holds. Calling it twice is fine."""
        ...


@runtime_checkable
class HoldsDevice(Protocol):
    """A model that occupies a device (a GPU's memory) between requests."""

    def make_room(self) -> None:
        """Free the device, as far as the model's settings allow.

        Requests that are under way are waited for. Calling it twice is fine.
        """
        ...

    def come_back(self) -> None:
        """Take the device again. A request does so by itself; calling it twice is fine.

        Raises:
            ModelError: the model cannot be brought back.
        """
        ...
