"""What can go wrong when a server is asked, each in one clear line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from models.protocol import ContextOverflow, ModelError
from models.urls import redact

if TYPE_CHECKING:
    import openai

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


class ServerBusy(ModelError):
    """The server has too much to do at the moment.

    Args:
        message: What happened, for the reader.
        wait_s: Seconds it asked us to wait; ``None`` if it did not say.
    """

    def __init__(self, message: str, *, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


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


def as_model_error(
    error: openai.OpenAIError, *, name: str, url: str, timeout_s: float, max_tokens: int
) -> ModelError:
    """What the client's error means to a reader.

    Args:
        error: What the ``openai`` package raised.
        name: The model's name.
        url: Of the server.
        timeout_s: Seconds of silence that were waited for.
        max_tokens: Longest reply that was asked for.
    """
    import openai

    if isinstance(error, openai.APITimeoutError):
        if "ConnectTimeout" in type(error.__cause__).__name__:
            return ServerGone(f"{url} cannot be reached: connecting took too long", again=True)
        return ModelError(
            f"{url} said nothing for {timeout_s:g} s: '{name}' may be too slow for this machine, "
            "or the server hangs; raise the time limit or look at its log"
        )
    if isinstance(error, openai.APIConnectionError):
        return _unreachable(error, url)
    if isinstance(error, openai.APIStatusError):
        return _refused(error, error.status_code, name=name, url=url, max_tokens=max_tokens)
    if isinstance(error, openai.APIError):  # an error in the middle of a stream
        code = str(error.code or "")
        status = int(code) if code.isdigit() else 500
        return _refused(error, status, name=name, url=url, max_tokens=max_tokens)
    return ModelError(f"{url} cannot be asked: {redact(str(error))[:300]}")


def _unreachable(error: openai.APIConnectionError, url: str) -> ServerGone:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(c, ConnectionRefusedError) for c in causes) or "refused" in str(causes):
        return ServerGone(f"nothing listens at {url}: start the server first", again=False)
    kinds = {type(c).__name__ for c in causes}
    if "ConnectError" in kinds:
        return ServerGone(f"{url} cannot be reached: {redact(str(causes[-1]))[:200]}", again=False)
    return ServerGone(f"{url} broke the connection off in the middle of a reply", again=True)


def _refused(
    error: openai.APIError, status: int, *, name: str, url: str, max_tokens: int
) -> ModelError:
    said = _said(error)
    if 300 <= status < 400:
        return ModelError(
            f"{url} sends us on to another address ({status}), which is not followed since the key "
            "would go along: give the final address as the URL"
        )
    if status in (401, 403):
        return ModelError(f"{url} refuses our key ({status}): set the right one for '{name}'")
    if status == 404:
        return ModelError(f"{url} does not know what was asked for (404): {said}")
    if status in (400, 413, 422) and _OVERFLOW.search(f"{said} {error.code}"):
        context, prompt = _numbers(said)
        return overflow(name, context, prompt, max_tokens)
    if status in (429, 503):
        return ServerBusy(f"{url} is too busy ({status}): {said}", wait_s=_wait(error))
    if status >= 500:
        return ServerGone(f"{url} failed ({status}): {said}", again=False)
    return ModelError(f"{url} refuses the request ({status}): {said}")


def _said(error: openai.APIError) -> str:
    body: Any = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    text = " ".join(str(body if body is not None else error.message).split())
    return redact(text)[:300] or "no reason given"


def _numbers(said: str) -> tuple[int | None, int | None]:
    """Context and prompt in tokens, where the server's text holds them."""
    context = re.search(r"(?:context length is|max_model_len=?|n_ctx\D{0,4})\D{0,3}(\d+)", said)
    prompt = re.search(r"(\d+) (?:input tokens|tokens in the messages|in the messages)", said)
    prompt = prompt or re.search(r"messages resulted in (\d+)", said)
    return (int(context[1]) if context else None, int(prompt[1]) if prompt else None)


def _wait(error: openai.APIError) -> float | None:
    response = getattr(error, "response", None)
    if response is None:
        return None
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None
