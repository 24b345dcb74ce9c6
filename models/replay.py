"""A model that answers from recorded traffic, so that nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from models.protocol import (
    ChatModel,
    ChatRequest,
    Completion,
    HoldsDevice,
    Message,
    ModelError,
    OnDone,
    OnText,
)


def request_key(request: ChatRequest) -> str:
    """SHA-256 (hex) of a request, the same in every process and version.

    The model's name is not part of it: recorded traffic belongs to one model already.
    """
    constraint = request.constraint
    document = {
        "messages": [[m.role, m.content] for m in request.messages],
        "n": request.n,
        "seed": request.seed,
        "temperature": float(request.temperature),
        "max_tokens": request.max_tokens,
        "constraint": None if constraint is None else [constraint.kind, constraint.value],
    }
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def whole_requests(
    replies: Iterable[tuple[str, int, int, Completion]],
) -> dict[str, tuple[Completion, ...]]:
    """Recorded replies, gathered by request.

    Args:
        replies: (request key, place of the reply, number of replies asked for, reply), in any
            order. A place that occurs twice keeps its first reply.

    Returns:
        The replies of each request in their places. A request that was cut off before all of its
        replies were recorded is left out, so that it will be asked again as a whole.
    """
    places: dict[str, dict[int, Completion]] = {}
    asked: dict[str, int] = {}
    for key, index, n, completion in replies:
        places.setdefault(key, {}).setdefault(index, completion)
        asked[key] = n
    return {
        key: tuple(places[key][i] for i in range(n))
        for key, n in asked.items()
        if all(i in places[key] for i in range(n))
    }


class NotRecorded(ModelError):
    """A strict replay was asked for what its record does not hold."""


class ReplayModel:
    """Answers what was recorded. Without a wrapped model it is strict: nothing else is answered.

    Args:
        recorded: Replies by ``request_key``, as ``whole_requests`` gathers them.
        name: Name of the model that wrote them.
        is_llm: Whether that model was a language model.
        wrapped: Who is asked for what was not recorded; its name and kind are then the ones shown.
            The replay closes it.
    """

    def __init__(
        self,
        recorded: Mapping[str, Sequence[Completion]],
        *,
        name: str = "replay",
        is_llm: bool = True,
        wrapped: ChatModel | None = None,
    ) -> None:
        self._recorded = dict(recorded)
        self._name = wrapped.name if wrapped else name
        self._is_llm = wrapped.is_llm if wrapped else is_llm
        self._wrapped = wrapped
        self.answered = 0
        """Requests answered from the record so far."""
        self.asked = 0
        """Requests passed on to the wrapped model so far."""

    @property
    def name(self) -> str:
        """Name of the model whose replies these are."""
        return self._name

    @property
    def is_llm(self) -> bool:
        """Whether that model is a language model."""
        return self._is_llm

    @property
    def context_tokens(self) -> int | None:
        """That of the wrapped model; a strict replay has no limit."""
        return self._wrapped.context_tokens if self._wrapped else None

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """As the wrapped model counts; a strict replay counts nothing."""
        return self._wrapped.count_tokens(messages) if self._wrapped else 0

    def complete(
        self,
        request: ChatRequest,
        *,
        on_text: OnText | None = None,
        on_done: OnDone | None = None,
    ) -> list[Completion]:
        """The recorded replies to exactly this request.

        Raises:
            NotRecorded: nothing was recorded for it and no model is wrapped.
            ModelError: the wrapped model cannot answer.
        """
        key = request_key(request)
        if key in self._recorded:
            self.answered += 1
            replies = list(self._recorded[key])
            for index, reply in enumerate(replies):
                if on_text is not None:
                    on_text(index, reply.text)
                if on_done is not None:
                    on_done(index, reply)
            return replies
        if self._wrapped is None:
            raise NotRecorded(
                f"no recorded reply of '{self._name}' for request {key[:12]} (n={request.n}, "
                f"seed={request.seed}, {len(request.messages)} messages): the prompts, the "
                "settings or the sandbox's feedback differ from the recorded run; replay it with "
                "the version and configuration that recorded it"
            )
        self.asked += 1
        return self._wrapped.complete(request, on_text=on_text, on_done=on_done)

    def make_room(self) -> None:
        """Let the wrapped model leave its device, if it holds one."""
        if isinstance(self._wrapped, HoldsDevice):
            self._wrapped.make_room()

    def come_back(self) -> None:
        """Let the wrapped model take its device again."""
        if isinstance(self._wrapped, HoldsDevice):
            self._wrapped.come_back()

    def close(self) -> None:
        """Close the wrapped model, if any."""
        if self._wrapped is not None:
            self._wrapped.close()
