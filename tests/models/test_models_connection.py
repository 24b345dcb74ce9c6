"""The connection to a server: what is sent, what breaks, and what is asked again."""

from __future__ import annotations

import socket
import struct
import threading
import time

import pytest
from fake_openai import HELLO, FakeOpenAI, Request, asked_by, fake_openai, says

from models.delivery import Delivery
from models.openai_errors import ServerBusy, ServerGone
from models.openai_server import OpenAIModel
from models.protocol import ChatRequest, ContextOverflow, ModelError


def test_a_server_that_is_busy_is_asked_again(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        if len(fake.chats) < 3:
            request.error(503 if len(fake.chats) == 1 else 429, "busy", retry_after="0.05")
        else:
            says("at last")(request)

    fake.answer = answer
    (reply,) = asked_by(fake, retries=3).complete(ChatRequest(HELLO))
    assert reply.text == "at last"
    assert len(fake.chats) == 3
    fake.seen.clear()
    with pytest.raises(ServerBusy, match="too busy"):
        asked_by(fake, retries=1).complete(ChatRequest(HELLO))


def reset(request: Request) -> None:
    """Cut the connection as a killed server does."""
    linger = struct.pack("ii", 1, 0)
    request._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    request._handler.connection.close()


@pytest.mark.parametrize("how", ["reset", "silently"])
def test_a_broken_connection_is_asked_again_and_nothing_is_heard_twice(
    fake: FakeOpenAI, how: str
) -> None:
    def answer(request: Request) -> None:
        if len(fake.chats) == 1:
            request.stream()
            request.chunk(0, "one", finish="stop", tokens=3)
            request.chunk(1, "tw", tokens=2)
            if how == "reset":
                time.sleep(0.1)
                reset(request)
        else:
            says("one", "two")(request)

    fake.answer = answer
    heard: list[tuple[int, str]] = []
    done: list[int] = []
    replies = asked_by(fake, retries=1).complete(
        ChatRequest(HELLO, n=2),
        on_text=lambda i, t: heard.append((i, t)),
        on_done=lambda i, c: done.append(i),
    )
    assert [r.text for r in replies] == ["one", "two"]
    assert heard == [(0, "one"), (1, "tw"), (1, "o")]
    assert done == [0, 1]
    fake.seen.clear()
    replies = asked_by(fake, retries=0).complete(ChatRequest(HELLO, n=2))
    assert [r.finish_reason for r in replies] == ["stop", "error"]
    assert "broke" in replies[1].note


def test_nobody_listening_is_said_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ModelError, match=f"nothing listens at http://127.0.0.1:{port}/v1"):
        OpenAIModel("mine", url=f"http://127.0.0.1:{port}", model_id="m").complete(
            ChatRequest(HELLO)
        )
    assert time.monotonic() - started < 5


def test_silence_ends_a_request(fake: FakeOpenAI) -> None:
    release = threading.Event()

    def answer(request: Request) -> None:
        request.stream()
        request.chunk(0, "hm", tokens=1)
        release.wait(10)

    fake.answer = answer
    try:
        with pytest.raises(ModelError, match=r"said nothing for 0.3 s"):
            asked_by(fake, timeout_s=0.3).complete(ChatRequest(HELLO))
    finally:
        release.set()


def test_an_error_in_the_middle_of_a_stream_is_told(fake: FakeOpenAI) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.chunk(0, "hm", tokens=1)
        request.event({"error": {"message": "EngineCore died", "code": 500}})

    fake.answer = answer
    (reply,) = asked_by(fake).complete(ChatRequest(HELLO))
    assert (reply.finish_reason, reply.text) == ("error", "hm")
    assert "EngineCore died" in reply.note
    request = ChatRequest(HELLO, max_tokens=9)
    with pytest.raises(ServerGone, match="EngineCore died"):  # who holds the server starts it anew
        asked_by(fake).answer(request, Delivery(1, None, None))


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [(400, "maximum context length is 9", ContextOverflow), (429, "busy", ServerBusy)],
)
def test_an_error_in_a_stream_that_is_the_requests_own_is_raised(
    fake: FakeOpenAI, code: int, message: str, kind: type[ModelError]
) -> None:
    def answer(request: Request) -> None:
        request.stream()
        request.event({"error": {"message": message, "code": code}})

    fake.answer = answer
    with pytest.raises(kind):
        asked_by(fake).complete(ChatRequest(HELLO))


def test_a_listener_that_raises_closes_the_stream_at_once(fake: FakeOpenAI) -> None:
    closed = threading.Event()

    def answer(request: Request) -> None:
        request.stream()
        try:
            for _ in range(500):
                request.chunk(0, "word ", tokens=1)
                time.sleep(0.01)
        except OSError:
            closed.set()

    fake.answer = answer

    class Enough(Exception):
        pass

    def on_text(index: int, text: str) -> None:
        raise Enough

    started = time.monotonic()
    with pytest.raises(Enough):
        asked_by(fake, retries=3).complete(ChatRequest(HELLO), on_text=on_text)
    assert closed.wait(2)
    assert time.monotonic() - started < 2
    assert len(fake.chats) == 1


def test_a_redirect_is_not_followed_and_the_key_stays_here(fake: FakeOpenAI) -> None:
    with fake_openai() as elsewhere:
        elsewhere.answer = says("stolen")
        target = f"{elsewhere.url}/chat/completions"
        fake.answer = lambda r: r.json({}, 307, location=target)
        with pytest.raises(ModelError, match="sends us on to another address"):
            asked_by(fake, retries=3).complete(ChatRequest(HELLO))
        assert not elsewhere.seen


def test_only_our_key_is_sent_whatever_the_environment_says(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "secret-of-another-service")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: secret-of-another-service")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    fake.answer = says("fine")
    asked_by(fake).complete(ChatRequest(HELLO))
    asked_by(fake, api_key=None).complete(ChatRequest(HELLO))
    assert [r.headers.get("authorization") for r in fake.chats] == ["Bearer k", None]
    assert "secret-of-another-service" not in str([r.headers for r in fake.seen])
    assert not [name for r in fake.seen for name in r.headers if name.startswith("x-stainless")]


def test_a_closed_model_is_not_asked(fake: FakeOpenAI) -> None:
    asked = asked_by(fake)
    asked.close()
    asked.close()
    with pytest.raises(ModelError, match="closed"):
        asked.complete(ChatRequest(HELLO))


def test_encryption_that_the_server_does_not_speak_is_said() -> None:
    with fake_openai() as plain:
        url = plain.url.replace("http:", "https:")
        with pytest.raises(ServerGone, match="cannot be reached"):
            OpenAIModel("mine", url=url, model_id="m", retries=0).complete(ChatRequest(HELLO))
        assert not plain.seen
