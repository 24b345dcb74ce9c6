"""Errors of requests to a server, each in one clear line."""

from __future__ import annotations

import re
from typing import Any

from models.protocol import BadReply, ContextOverflow, ModelError
from models.urls import redact

_OVERFLOW = re.compile(
    r"context_length_exceeded|maximum context length|max_model_len|exceed_context_size"
    r"|context (?:size|window|length).{0,40}exceed|exceeds? the (?:available )?context",
    re.IGNORECASE,
)


class ServerGone(ModelError):
    """The server cannot be reached, broke off, or failed inside: a fresh one may answer.

    Args:
        message: What happened, for the reader.
        again: Whether asking the same server again, a moment later, may help.
    """

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.again = again


class BrokenOff(ServerGone):
    """The server took the request, and gave up before the replies were complete."""


class ServerBusy(ModelError):
    """The server has too much to do at the moment.

    Args:
        message: What happened, for the reader.
        wait_s: Seconds it asked us to wait; ``None`` if it did not say.
    """

    def __init__(self, message: str, *, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Refusal(Exception):
    """A server's own word for an error.

    Args:
        status: HTTP status code, or the code of an error inside a stream (500 without one).
        document: What it said: JSON, or text that is none.
        retry_after: Its header of this name.
    """

    def __init__(self, status: int, document: Any, retry_after: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.document = document
        self.retry_after = retry_after

    @property
    def said(self) -> str:
        """The reason it gave, in one line."""
        inner = self.document
        if isinstance(inner, dict):
            inner = inner.get("error") or inner
        if isinstance(inner, dict):
            inner = inner.get("message") or inner.get("detail") or inner
        return one_line(inner) if inner else "no reason given"


def one_line(value: object, most: int = 300) -> str:
    """Foreign text for a message: one line of at most ``most`` characters, all of them printable,
    without the passwords of URLs."""
    text = " ".join(str(value)[: 4 * most].split())
    return "".join(c if c.isprintable() else "?" for c in redact(text))[:most]


def refusal_inside(document: Any) -> Refusal | None:
    """The error that an event of a stream tells, if it tells one."""
    if not isinstance(document, dict):
        return None
    told = document if document.get("object") == "error" else document.get("error")
    if not told:
        return None
    code = str(told.get("code", "")) if isinstance(told, dict) else ""
    return Refusal(int(code) if re.fullmatch(r"[1-5]\d\d", code) else 500, document)


def overflow(
    name: str, context: int | None, prompt: int | None, max_tokens: int
) -> ContextOverflow:
    """The error of a conversation that is too long, with its numbers in tokens."""
    asked = f"{prompt} tokens" if prompt is not None else "the conversation"
    room = f"of {context} tokens" if context is not None else "(its size is not known)"
    return ContextOverflow(
        f"{asked} and a reply of up to {max_tokens} do not fit the context {room} of '{name}': "
        "shorten the conversation, lower max_tokens, or serve the model with a larger context"
    )


def refused(refusal: Refusal, *, name: str, url: str, max_tokens: int) -> ModelError:
    """The error for a server's refusal, for a reader.

    Args:
        refusal: What it said.
        name: The model's name.
        url: Of the server.
        max_tokens: Longest reply that was asked for.
    """
    status, said = refusal.status, refusal.said
    if 300 <= status < 400:
        return ModelError(
            f"{url} sends us on to another address ({status}), which is not followed since the key "
            "would go along: give the final address as the URL"
        )
    if status in (401, 403):
        return ModelError(f"{url} refuses our key ({status}): set the right one for '{name}'")
    if status == 404:
        return ModelError(f"{url} does not know what was asked for (404): {said}")
    if status in (400, 413, 422) and _OVERFLOW.search(str(refusal.document)[:4000]):
        context, prompt = _numbers(said)
        return overflow(name, context, prompt, max_tokens)
    if status in (429, 503):
        return ServerBusy(f"{url} is too busy ({status}): {said}", wait_s=_wait(refusal))
    if status >= 500:
        return ServerGone(f"{url} failed ({status}): {said}", again=False)
    return ModelError(f"{url} refuses the request ({status}): {said}")


def refused_inside(refusal: Refusal, *, name: str, url: str, max_tokens: int) -> ModelError:
    """What an error in the middle of a stream means: it is that reply's, and no more, unless the
    conversation was too long or the server too busy."""
    error = refused(refusal, name=name, url=url, max_tokens=max_tokens)
    if isinstance(error, ServerGone):
        return BrokenOff(str(error), again=False)
    return error if isinstance(error, (ContextOverflow, ServerBusy)) else BadReply(str(error))


def unreachable(error: Exception, *, name: str, url: str, timeout_s: float) -> ModelError:
    """What it means that a request ended before its answer began.

    Args:
        error: What the HTTP library raised.
        name: The model's name.
        url: Of the server.
        timeout_s: Seconds of silence that were waited for.
    """
    kind, causes = type(error).__name__, _causes(error)
    if kind == "ConnectTimeout":
        return ServerGone(f"{url} cannot be reached: connecting took too long", again=True)
    if kind.endswith("Timeout"):
        return silent(name=name, url=url, timeout_s=timeout_s)
    if any(isinstance(c, ConnectionRefusedError) for c in causes) or "refused" in str(causes):
        return ServerGone(f"nothing listens at {url}: start the server first", again=False)
    if kind in ("ConnectError", "ProxyError", "UnsupportedProtocol", "InvalidURL"):
        return ServerGone(f"{url} cannot be reached: {one_line(causes[-1], 200)}", again=False)
    if kind == "RemoteProtocolError" and "disconnected" not in str(error):
        return BadReply(f"{url} sent what is no HTTP answer: {one_line(error, 200)}")
    return BrokenOff(f"{url} broke the connection off without an answer", again=True)


def silent(*, name: str, url: str, timeout_s: float) -> ModelError:
    """The error of a server that says nothing any more."""
    return ModelError(
        f"{url} said nothing for {timeout_s:g} s: '{name}' may be too slow for this machine, "
        "or the server hangs; raise the time limit or look at its log"
    )


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _numbers(said: str) -> tuple[int | None, int | None]:
    """Context and prompt in tokens, where the server's text holds them."""
    context = re.search(r"(?:context length is|max_model_len=?|n_ctx\D{0,4})\D{0,3}(\d+)", said)
    prompt = re.search(r"(\d+) (?:input tokens|tokens in the messages|in the messages)", said)
    prompt = prompt or re.search(r"messages resulted in (\d+)", said)
    return (int(context[1]) if context else None, int(prompt[1]) if prompt else None)


def _wait(refusal: Refusal) -> float | None:
    try:
        return max(0.0, float(refusal.retry_after))
    except ValueError:
        return None
