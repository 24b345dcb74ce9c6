"""A model whose replies are begun for it, so that a small one writes code and not about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.protocol import ChatModel, ChatRequest, Completion, Message, OnDone, OnText


class BegunModel:
    """Passes requests on with the beginning of the reply in them, and gives whole replies back.

    The beginning is an assistant's last message, which local models and vLLM's server continue. A
    server that writes a new reply instead is taken at its word. Requests with a constraint are
    passed on as they are: the constraint holds a whole reply.

    Args:
        model: who writes.
        begin: the beginning of every reply.
        anew: beginnings of a reply that does not continue.
    """

    def __init__(self, model: ChatModel, begin: str, anew: Sequence[str] = ()) -> None:
        self._model, self._begin, self._anew = model, begin, (begin, *anew)

    @property
    def name(self) -> str:
        """The model's own."""
        return self._model.name

    @property
    def is_llm(self) -> bool:
        """Whether the model is one."""
        return self._model.is_llm

    @property
    def context_tokens(self) -> int | None:
        """The model's own."""
        return self._model.context_tokens

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation, the beginning of the reply included.

        Raises:
            ModelError: it cannot be counted.
        """
        return self._model.count_tokens(self._begun(messages))

    def _begun(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        return (*messages, Message("assistant", self._begin))

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """Whole replies.

        Raises:
            ContextOverflow, ModelError: as the model.
        """
        if request.constraint is not None:
            return self._model.complete(request, on_text=on_text, on_done=on_done)
        held: dict[int, str] = {}
        told: set[int] = set()

        def text(index: int, piece: str) -> None:
            if on_text is None:
                return
            if index not in told:
                piece = held[index] = held.get(index, "") + piece
                if self._undecided(piece):
                    return
                told.add(index)
                piece = self._joined(piece)
            on_text(index, piece)

        def done(index: int, reply: Completion) -> None:
            if on_text is not None and index not in told and held.get(index):
                on_text(index, self._joined(held[index]))
            if on_done is not None:
                on_done(index, self._whole(reply))

        asked = replace(request, messages=self._begun(request.messages))
        return [self._whole(r) for r in self._model.complete(asked, on_text=text, on_done=done)]

    def _undecided(self, text: str) -> bool:
        """Whether a text may still become the beginning of a new reply, or not."""
        start = text.lstrip()
        return any(begin.startswith(start) and len(start) < len(begin) for begin in self._anew)

    def _joined(self, text: str) -> str:
        return text if text.lstrip().startswith(self._anew) else self._begin + text

    def _whole(self, reply: Completion) -> Completion:
        if reply.finish_reason == "error":
            return reply
        return replace(reply, text=self._joined(reply.text))

    def make_room(self) -> None:
        """As the model, where it holds a device."""
        if hasattr(self._model, "make_room"):
            self._model.make_room()

    def come_back(self) -> None:
        """As the model, where it holds a device."""
        if hasattr(self._model, "come_back"):
            self._model.come_back()

    def close(self) -> None:
        """Release what the model holds."""
        self._model.close()
