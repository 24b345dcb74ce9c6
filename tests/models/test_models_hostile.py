"""What a server may send instead of a reply: none of it is an exception, and all of it has an end.

Every row is one way in which a stream goes wrong. Either the reply is taken all the same, or it
comes to nothing with one clear line.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fake_openai import HELLO, FakeOpenAI, Request, asked_by, says, usage

from models.admin.registering import add_model
from models.protocol import ChatRequest, Completion, Message, ModelError
from models.registry import ModelRegistry

Writes = Callable[[Request], None]


def one_reply(fake: FakeOpenAI, writes: Writes, **settings: Any) -> Completion:
    def answer(request: Request) -> None:
        request.stream()
        writes(request)

    fake.answer = answer
    asked = asked_by(fake, **{"dialect": "openai", **settings})
    (reply,) = asked.complete(ChatRequest(HELLO, max_tokens=20))
    return reply


def choice(index: Any = 0, finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def events(*documents: Any, done: bool = True) -> Writes:
    def write(request: Request) -> None:
        for document in documents:
            request.event(document)
        if done:
            request.done()

    return write


def raw(*lines: bytes) -> Writes:
    return lambda request: request.raw(b"\n".join([*lines, b"", b""]))


END = choice(finish="stop")
ONCE = choice(content="hi", finish="stop")
LINE = b"data: " + json.dumps(ONCE).encode()


def used(prompt: Any, tokens: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": tokens}}


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        (events(None), "it is null, and should be an object"),
        (events(5), "it is a number"),
        (events([1, 2]), "it is a list"),
        (events("text"), "it is text"),
        (events({"choices": {"a": 1}}), "'choices' is an object"),
        (events({"choices": [None]}), "a choice is null"),
        (events(choice("zero", content="hi"), END), "'index' is text"),
        (events(choice(True, content="hi"), END), "'index' is a truth value"),
        (events({"choices": [{"index": 0, "delta": "text"}]}), "'delta' is text"),
        (events(choice(content=12345), END), "'content' is a number"),
        (events(choice(content={"a": 1}), END), "'content' is an object"),
        (events(choice(reasoning_content=[1]), END), "'reasoning_content' is a list"),
        (events({"error": {"message": "boom"}}, done=False), "failed (500): boom"),
        (events({"error": "boom", "choices": []}), "failed (500): boom"),
        (events({"error": {"message": "bad grammar", "code": 400}}), "(400): bad grammar"),
        (events({"object": "error", "message": "boom", "code": 500}), "failed (500): boom"),
        (events({"error": {"message": "\x1b[31mboom", "code": [1]}}), "failed (500): ?[31mboom"),
        (raw(b"event: error", b'data: {"message": "boom"}'), "failed (500): boom"),
        (raw(b"data: {not json"), "sent what is no JSON: '{not json'"),
        (raw(b"data: " + b"[" * 100_000), "sent what is no JSON"),
        (raw(b"data: " + b"9" * 10_000 + b"x"), "sent what is no JSON"),
        (raw(b"<html><script>alert(1)</script>"), "sent what is no reply: '<html><script>"),
        (raw(b"I cannot do that."), "sent what is no reply: 'I cannot do that.'"),
        (raw("data: {}".encode("utf-16")), "it is not in UTF-8"),
        (events(choice(content="half"), done=False), "broke off before the reply was complete"),
        (lambda r: r.raw(b'data: {"cho'), "broke off before the reply was complete"),
        (lambda r: None, "broke off before the reply was complete"),
        (events(), "broke off before the reply was complete"),
        (events({"choices": None}), "broke off before the reply was complete"),
        (events(choice(-1, content="x"), choice(10**9, content="x", finish="stop")), "broke off"),
        (events(choice(finish="tool_calls", content=None)), "'tool_calls' and without text"),
        (events(choice(finish="abort", content="x")), "gave a reply up"),
    ],
)  # fmt: skip
def test_what_is_no_reply_comes_to_nothing_with_the_reason(
    fake: FakeOpenAI, writes: Writes, said: str
) -> None:
    reply = one_reply(fake, writes)
    assert reply.finish_reason == "error"
    assert said in reply.note
    assert reply.note.isprintable()


@pytest.mark.parametrize(
    ("writes", "text"),
    [
        (events({**ONCE, "usage": "many"}), "hi"),
        (events({**ONCE, "usage": [1, 2]}), "hi"),
        (events(ONCE, used("abc", [1])), "hi"),
        (events(ONCE, used(-5, 10**30)), "hi"),
        (events(ONCE, used(None, True)), "hi"),
        (events(ONCE, used(10**7, 2.5)), "hi"),
        (events(ONCE, used(10, 10**7)), "hi"),
        (events({**ONCE, "usage": used(10, 10**7)["usage"]}), "hi"),
        (events(choice(content="hi", finish=["stop"]), done=False), "hi"),
        (events(choice(content="hi", finish={"a": 1})), "hi"),
        (events(choice(content="h", finish=""), choice(content="i", finish=False), END), "hi"),
        (events(choice(content="hi")), "hi"),  # no reason, but the end of the stream
        (events(choice(content="hi", finish="stop"), choice(content=" more")), "hi"),
        (events(choice(7, content="x"), choice(content="hi"), choice(-1, content="x"), END), "hi"),
        (events(choice(None, content="hi"), choice(None, finish="stop")), "hi"),
        (events({"choices": []}, {}, {"choices": None}, choice(content="hi"), END), "hi"),
        (events({"choices": [{"index": 0, "delta": None}]}, choice(content="hi"), END), "hi"),
        (raw(b": ping", b"retry: 5", b"id: 1", b"", LINE.replace(b": ", b":", 1)), "hi"),
        (raw(b"\xef\xbb\xbf" + LINE), "hi"),
        (raw(LINE + b"\r"), "hi"),
        (lambda r: r.raw(LINE), "hi"),
        (raw(LINE.replace(b"hi", b"h\xff\xc3i")), "h\ufffd\ufffdi"),
        (events(choice(content="a\ud83d"), choice(content="\ude00b"), END), "a😀b"),
        (events(choice(content="a\udc00b\ud800"), END), "a\ufffdb\ufffd"),
        (events(choice(content="a\0b"), END), "a\ufffdb"),
    ],
)  # fmt: skip
def test_what_can_be_taken_is_taken(fake: FakeOpenAI, writes: Writes, text: str) -> None:
    reply = one_reply(fake, writes)
    assert (reply.text, reply.finish_reason) == (text, "stop")
    assert 0 <= reply.prompt_tokens < 1000
    assert 0 < reply.completion_tokens < 1000
    reply.text.encode()


def test_a_server_that_does_not_stream_is_read_all_the_same(fake: FakeOpenAI) -> None:
    message = {"index": 0, "message": {"content": "whole"}, "finish_reason": "stop"}
    fake.answer = lambda r: r.json({"choices": [message], "usage": usage(5, 2)})
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO))
    assert (reply.text, reply.completion_tokens, reply.prompt_tokens) == ("whole", 2, 5)


def test_only_the_unfinished_replies_of_a_broken_stream_come_to_nothing(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.chunk(1, "whole", finish="stop", tokens=3)
        request.chunk(0, "hal", tokens=2)
        request.raw(b"data: {oops\n\n")

    fake.answer = answer
    done: list[int] = []
    replies = asked_by(fake).complete(ChatRequest(HELLO, n=2), on_done=lambda i, c: done.append(i))
    assert [r.finish_reason for r in replies] == ["error", "stop"]
    assert [r.text for r in replies] == ["hal", "whole"]
    assert done == [1, 0]


@pytest.mark.parametrize(
    "head",
    [
        "HTTP/1.1 200 OK\r\nx-name: ß\r\n\r\n".encode("utf-16"),
        b"HTTP/1.1 200 OK\r\nx-name: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 200_000,
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
    ids=["utf16", "nul", "long", "ssh", "ssh with a blank line"],
)
def test_what_is_no_http_comes_to_nothing(fake: FakeOpenAI, head: bytes) -> None:
    fake.answer = lambda r: r.raw(head)
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO))
    assert reply.finish_reason == "error"
    assert "sent what is no HTTP answer" in reply.note or "without an answer" in reply.note


# -- without an end --------------------------------------------------------------------------------


def test_a_server_that_ignores_the_limit_of_tokens_is_cut_off_by_characters(
    fake: FakeOpenAI,
) -> None:
    def writes(request: Request) -> None:
        while True:
            request.chunk(0, "a" * 300)

    reply = one_reply(fake, writes)
    assert reply.finish_reason == "length"
    assert len(reply.text) == 20 * 32
    assert "went on beyond 20 tokens" in reply.note


@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_and_by_the_number_of_pieces(fake: FakeOpenAI, field: str) -> None:
    def writes(request: Request) -> None:
        while True:
            request.event(choice(**{field: "a "}))

    reply = one_reply(fake, writes)
    assert reply.finish_reason == "length"
    assert len(reply.text) < 400


def test_the_other_replies_are_waited_for_when_one_is_cut_off(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.chunk(1, "b")
        request.chunk(0, "a" * 1000)
        for _ in range(5):
            request.chunk(0, "a" * 1000)
            request.chunk(1, "b")
        request.chunk(1, finish="stop")
        while True:
            request.chunk(0, "a" * 1000)

    fake.answer = answer
    replies = asked_by(fake, dialect="openai").complete(ChatRequest(HELLO, n=2, max_tokens=20))
    assert [(len(r.text), r.finish_reason) for r in replies] == [(640, "length"), (6, "stop")]


@pytest.mark.parametrize("ended", [False, True], ids=["no line end", "one line"])
def test_a_huge_event_takes_little_memory(fake: FakeOpenAI, ended: bool) -> None:
    sent = []

    def writes(request: Request) -> None:
        request.raw(b'data: {"choices": [{"index": 0, "delta": {"content": "')
        for _ in range(200):
            request.raw(b"x" * (1 << 20))
            sent.append(1)
        request.raw(b'"}}]}\n\n' if ended else b"")

    tracemalloc.start()
    try:
        reply = one_reply(fake, writes)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reply.finish_reason == "error"
    assert "bytes" in reply.note
    assert most < 40 << 20
    assert len(sent) < 50


def test_events_of_no_use_come_to_an_end(fake: FakeOpenAI) -> None:
    def writes(request: Request) -> None:
        while True:
            request.raw(b": ping\n\n" * 10_000)

    assert "bytes and no end" in one_reply(fake, writes).note


def ended_reply(
    fake: FakeOpenAI, answer: Callable[[Request], None], stop: threading.Event, **settings: float
) -> Completion:
    """What becomes of an answer that goes on until it is stopped; it is ended in seconds."""
    fake.answer = answer
    started = time.monotonic()
    try:
        (reply,) = asked_by(fake, **settings).complete(ChatRequest(HELLO))
    finally:
        stop.set()
    assert time.monotonic() - started < 3
    assert reply.finish_reason == "error"
    return reply


@pytest.mark.parametrize("where", ["headers", "events", "pings"])
def test_a_slow_drip_ends_in_time(fake: FakeOpenAI, where: str) -> None:
    stop = threading.Event()

    def answer(request: Request) -> None:
        if where != "headers":
            request.stream()
        while not stop.wait(0.05):
            request.raw({"headers": b"H", "pings": b": ping\n\n"}.get(where, b""))
            if where == "events":
                request.chunk(0, "a ")

    reply = ended_reply(fake, answer, stop, longest_s=0.4)
    assert "no end of its answer within 0.4 s" in reply.note


@pytest.mark.parametrize("sent", [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, b"H"])
def test_headers_come_in_time_however_long_a_reply_may_take(fake: FakeOpenAI, sent: bytes) -> None:
    stop = threading.Event()

    def answer(request: Request) -> None:
        while not stop.wait(0.002):
            request.raw(sent)

    with mock.patch("models.connection.CONNECT_S", 0.2):
        reply = ended_reply(fake, answer, stop, timeout_s=0.4)
    assert "no end of its answer within" in reply.note


def test_a_compressed_answer_is_refused_unread(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        request.stream(content_encoding="gzip")
        request.raw(gzip.compress(b"data: " + b"a" * (64 << 20), 1))

    fake.answer = answer
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO))
    assert fake.chats[0].headers["accept-encoding"] == "identity"
    assert "compresses its answer (gzip)" in reply.note


def test_of_a_long_error_page_the_beginning_is_read(fake: FakeOpenAI) -> None:
    fake.answer = lambda r: r.error(400, "\x1b[31m" + "x" * (20 << 20))
    with pytest.raises(ModelError, match=r"refuses the request \(400\)") as caught:
        asked_by(fake).complete(ChatRequest(HELLO))
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_busy_server_that_asks_for_ages_is_not_waited_for(fake: FakeOpenAI) -> None:
    started = time.monotonic()
    for wait in ("1e12", "inf", "nan", "-1", "tomorrow"):
        fake.answer = lambda r, wait=wait: r.error(429, "busy", retry_after=wait)  # type: ignore[misc]
        with pytest.raises(ModelError, match="too busy"):
            asked_by(fake, retries=0).complete(ChatRequest(HELLO))
    fake.answer = lambda r: r.error(429, "busy", retry_after="1e12")
    with pytest.raises(ModelError, match="too busy"):
        asked_by(fake, retries=3).complete(ChatRequest(HELLO))
    assert time.monotonic() - started < 3


# -- what is asked beside the chat -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "context"),
    [
        ({"data": [{"id": "m", "max_model_len": "many"}]}, None),
        ({"data": [{"id": "m", "max_model_len": -1}]}, None),
        ({"data": [{"id": "m", "max_model_len": 10**30}]}, None),
        ({"data": [5, None, {"id": 7}, {"id": "m\x1b[2J"}, {"id": "m", "max_model_len": 99}]}, 99),
        ({"data": [{"id": "m", "max_model_len": 9}]}, None),
        ({"data": {"id": "m"}}, None),
        ([1], None),
        (None, None),
    ],
)  # fmt: skip
def test_a_list_of_models_of_another_form_tells_nothing(
    fake: FakeOpenAI, document: Any, context: int | None
) -> None:
    fake.answer = lambda r: r.json({})
    fake.models = document["data"] if isinstance(document, dict) else document
    assert asked_by(fake).context_tokens == context


@pytest.mark.parametrize("said", [{"count": "x"}, {"count": -1}, [], None, {"count": True}])
def test_tokens_that_nobody_can_have_counted_are_estimated(fake: FakeOpenAI, said: Any) -> None:
    fake.tokenize = lambda r: r.json(said)
    assert 30 < asked_by(fake).count_tokens(HELLO) < 60
    fake.tokenize = lambda r: r.error(500, "no")
    assert 30 < asked_by(fake).count_tokens(HELLO) < 60


def test_a_key_that_no_header_can_carry_is_refused(fake: FakeOpenAI) -> None:
    for key in ("schlüssel", "a b", "a\nb", "a\r\nx-evil: 1"):
        with pytest.raises(ModelError, match="the key of 'mine'") as caught:
            asked_by(fake, api_key=key)
        assert key not in str(caught.value)


def test_half_a_character_in_the_conversation_is_sent_all_the_same(fake: FakeOpenAI) -> None:
    fake.answer = says("fine")
    (reply,) = asked_by(fake).complete(ChatRequest([Message("user", "a\ud800b")]))
    assert reply.text == "fine"
    assert fake.chats[0].body["messages"][0]["content"] == "a\ud800b"
    assert asked_by(fake, dialect="openai").count_tokens([Message("user", "\ud800")]) > 0


def test_of_many_models_of_a_server_some_are_named(fake: FakeOpenAI, tmp_path: Path) -> None:
    fake.models = [{"id": f"m{i}"} for i in range(5_000)]
    with pytest.raises(ModelError, match="has 5000 models: give --model ID") as caught:
        add_model(ModelRegistry(tmp_path / "models.toml"), "many", fake.url, {})
    assert len(str(caught.value)) < 200
