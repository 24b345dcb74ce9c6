"""Replies as servers really send them: thoughts in fields of their own, odd reasons for the end,
conversations cut off without a word.
"""

from __future__ import annotations

from typing import Any

import pytest
from fake_openai import FakeOpenAI, Request, asked_by

from models.protocol import ChatRequest, Completion, Constraint, Message

LONG = [Message("user", "word " * 2_000)]


def reply_of(
    fake: FakeOpenAI,
    *deltas: dict[str, Any],
    finish: str = "stop",
    prompt: int | None = 2_500,
    constraint: Constraint | None = None,
) -> Completion:
    def answer(request: Request) -> None:
        request.stream()
        for delta in deltas:
            request.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        request.event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if prompt is not None:
            request.usage(prompt, 5)
        request.done()

    fake.answer = answer
    heard: list[str] = []
    asked = asked_by(fake, dialect="openai")
    (reply,) = asked.complete(
        ChatRequest(LONG, constraint=constraint), on_text=lambda index, text: heard.append(text)
    )
    assert "".join(heard) == reply.text  # what is shown while it comes is what is kept
    return reply


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_an_answer_that_the_server_takes_for_thoughts_is_the_answer(
    fake: FakeOpenAI, field: str
) -> None:
    reply = reply_of(fake, {field: "def f"}, {field: "(x): ...", "content": ""}, {"content": None})
    assert (reply.text, reply.finish_reason) == ("def f(x): ...", "stop")
    assert "took the whole reply for thoughts" in reply.note
    assert reply.completion_tokens == 5


def test_and_is_held_to_its_constraint(fake: FakeOpenAI) -> None:
    schema = Constraint("json", {"type": "object", "required": ["a"]})
    assert reply_of(fake, {"reasoning": '{"a": 1}'}, constraint=schema).violation == ""
    assert "'a' is a required" in reply_of(fake, {"reasoning": "{}"}, constraint=schema).violation


def test_thoughts_that_the_limit_cut_off_are_no_answer(fake: FakeOpenAI) -> None:
    reply = reply_of(fake, {"reasoning_content": "Let me think: def f"}, finish="length")
    assert (reply.text, reply.finish_reason) == ("<think>\nLet me think: def f", "length")


def test_thoughts_beside_an_answer_are_left_out(fake: FakeOpenAI) -> None:
    reply = reply_of(fake, {"reasoning_content": "hm"}, {"content": "yes"})
    assert (reply.text, reply.note) == ("yes", "")


@pytest.mark.parametrize(
    ("said", "finish", "note"),
    [
        ("stop", "stop", False),
        ("eos", "stop", False),
        ("eos_token", "stop", False),
        ("max_tokens", "length", False),
        ("tool_calls", "stop", True),
        ("content_filter", "stop", True),
        ("because\x1b[2J", "stop", True),
    ],
)
def test_a_reply_that_ends_for_another_reason_counts_by_its_text(
    fake: FakeOpenAI, said: str, finish: str, note: bool
) -> None:
    reply = reply_of(fake, {"content": "yes"}, finish=said)
    assert (reply.text, reply.finish_reason) == ("yes", finish)
    assert ("ended by" in reply.note) == note
    assert reply.note.isprintable()


def test_a_reply_that_ends_for_another_reason_without_text_came_to_nothing(
    fake: FakeOpenAI,
) -> None:
    reply = reply_of(fake, finish="content_filter")
    assert reply.finish_reason == "error"
    assert "ended by 'content_filter' and without text" in reply.note


@pytest.mark.parametrize(
    ("prompt", "cut"), [(1_000, True), (1_990, True), (2_010, False), (None, False), (0, False)]
)
def test_a_conversation_that_the_server_cut_off_is_noticed(
    fake: FakeOpenAI, prompt: int | None, cut: bool
) -> None:
    """It has 10,000 characters, which no tokenizer puts into fewer than 2,000 tokens."""
    reply = reply_of(fake, {"content": "yes"}, prompt=prompt)
    assert f"read {prompt:,} tokens of a" in reply.note if cut else not reply.note
    assert reply.prompt_tokens == (prompt or 4_016)
