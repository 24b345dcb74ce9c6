"""Replies that are begun for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.begun import BegunModel
from models.protocol import ChatRequest, Completion, Constraint, Message

BEGIN = "```python\ndef tfcaf("
ASKED = ChatRequest([Message("user", "write")], n=2)


class Writer:
    name, is_llm, context_tokens = "writer", True, None

    def __init__(self, *texts: str, reason: str = "stop") -> None:
        self.texts, self.reason = texts, reason
        self.asked: list[ChatRequest] = []

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return len(messages)

    def complete(self, request: ChatRequest, **told: Any) -> list[Completion]:
        self.asked.append(request)
        replies = []
        for index, text in enumerate(self.texts):
            for piece in (text[:3], text[3:]):
                told["on_text"](index, piece)
            reason: Any = self.reason
            replies.append(Completion(text, self.name, 0, 1, 1, 0.0, reason))
            told["on_done"](index, replies[-1])
        return replies

    def close(self) -> None:
        pass


def replies(writer: Writer, request: ChatRequest = ASKED) -> tuple[list[str], list[str], list[str]]:
    """Texts as returned, as streamed, and as told at their ends."""
    streamed, ended = ["", ""], ["", ""]

    def on_text(index: int, piece: str) -> None:
        streamed[index] += piece

    def on_done(index: int, reply: Completion) -> None:
        ended[index] = reply.text

    model = BegunModel(writer, BEGIN, ("```", "def "))
    made = [r.text for r in model.complete(request, on_text=on_text, on_done=on_done)]
    return made, streamed, ended


def test_the_beginning_is_asked_for_and_stands_in_the_reply() -> None:
    writer = Writer("state):\n    return 1", "x):\n    return 2")
    whole = [BEGIN + text for text in writer.texts]
    assert replies(writer) == (whole, whole, whole)
    assert writer.asked[0].messages[-1] == Message("assistant", BEGIN)
    assert BegunModel(writer, BEGIN).count_tokens(ASKED.messages) == 2


def test_a_server_that_begins_anew_is_taken_at_its_word() -> None:
    writer = Writer("```python\ndef tfcaf(state):\n    pass\n```", "def tfcaf(x):\n    pass")
    assert replies(writer) == (list(writer.texts),) * 3


def test_a_constraint_holds_a_whole_reply() -> None:
    writer = Writer("abc", "abd")
    asked = ChatRequest(ASKED.messages, n=2, constraint=Constraint("grammar", "start: /ab./"))
    assert replies(writer, asked) == (["abc", "abd"],) * 3
    assert writer.asked == [asked]


def test_what_broke_off_is_left_as_it_is() -> None:
    writer = Writer("", "", reason="error")
    assert replies(writer)[0] == ["", ""]
