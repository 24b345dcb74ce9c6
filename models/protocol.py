"""The protocol that every chat model speaks: a served LLM, one in process, a sampler, a replay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


class ModelError(RuntimeError):
    """A model cannot answer; the message says why and what to do."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Constraint:
    """What a reply must look like. Replies are validated again by whoever asked."""

    kind: Literal["json", "grammar"]
    value: dict[str, Any] | str
    """A JSON schema for ``json``, a Lark grammar for ``grammar``."""


@dataclass(frozen=True)
class Completion:
    """One reply, with what it cost."""

    text: str
    model: str
    seed: int | None
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    finish_reason: Literal["stop", "length"] = "stop"


OnText = Callable[[int, str], None]
"""Called with (index of the completion, new text) while replies are being written."""


@runtime_checkable
class ChatModel(Protocol):
    """Anything that answers a conversation."""

    @property
    def name(self) -> str:
        """How a user refers to it."""
        ...

    @property
    def is_llm(self) -> bool:
        """False for the embedded sampler, which must never be shown as a language model."""
        ...

    def complete(
        self,
        messages: Sequence[Message],
        *,
        n: int = 1,
        seed: int = 0,
        temperature: float = 1.0,
        max_tokens: int = 2048,
        constraint: Constraint | None = None,
        on_text: OnText | None = None,
    ) -> list[Completion]:
        """``n`` replies to a conversation; the same arguments give the same replies.

        Raises:
            ModelError: no reply can be had.
        """
        ...

    def close(self) -> None:
        """Release what the model holds. Calling it twice is fine."""
        ...
