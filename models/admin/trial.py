"""Try a model: one completion under each kind of constraint, and one repeated."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from models.entries import ModelEntry
from models.protocol import ChatModel, ChatRequest, Completion, Constraint, Message, ModelError

_SCHEMA = {
    "type": "object",
    "properties": {
        "advice": {"type": "string", "maxLength": 120},
        "scores": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 9},
            "minItems": 8,
            "maxItems": 8,
        },
    },
    "required": ["advice", "scores"],
    "additionalProperties": False,
}
_GRAMMAR = """\
start: "weights = " list "\\n" "bias = " number "\\n"
list: "[" number ("," " " number){3} "]"
number: /[0-9]\\.[0-9]{2}/
"""
_ASKED = {
    "json": (
        "Reply with a JSON object: 'advice', one sentence on how to share a team's reward among"
        " its agents, and 'scores', eight whole numbers from 0 to 9.",
        Constraint("json", _SCHEMA),
    ),
    "grammar": (
        "Reply with two lines and nothing else:\nweights = [0.25, 0.25, 0.25, 0.25]\nbias = 0.50\n"
        "Use other numbers of the same form.",
        Constraint("grammar", _GRAMMAR),
    ),
}
_MOST_TOKENS = 400
_REPEATED = ChatRequest(
    [Message("user", "Tell in two sentences how a team may share its reward among its members.")],
    seed=7,
    temperature=0.7,
    max_tokens=48,
)
_BATCH = 4


def try_model(model: ChatModel, entry: ModelEntry) -> dict[str, Any]:
    """One completion under each kind of constraint, and one request asked again.

    Returns:
        The keys of ``qllm models check --json``; ``ok`` says whether every constraint held.
        ``repeats`` has no part in it.

    Raises:
        ModelError: the model cannot answer.
    """
    started = time.monotonic()
    _one_reply(model, "Say yes.", max_tokens=2)  # loads and compiles, outside the measured speed
    ready_s = time.monotonic() - started
    checks = [_try(model, entry, kind) for kind in _ASKED]
    return {
        "name": entry.name,
        "backend": entry.backend,
        "context_tokens": model.context_tokens,
        "checks": checks,
        "repeats": _repeats(model),
        "ready_s": ready_s,
        "seconds": time.monotonic() - started,
        "ok": all(c["honoured"] is not False for c in checks),
    }


def _try(model: ChatModel, entry: ModelEntry, kind: str) -> dict[str, Any]:
    words, constraint = _ASKED[kind]
    if kind == "grammar" and entry.backend == "openai" and entry.dialect == "openai":
        why = "OpenAI's protocol has no grammars (add it with --dialect vllm if it is vLLM)"
        return {"constraint": kind, "honoured": None, "said": why}
    reply = _one_reply(
        model, words, seed=1, temperature=0.7, max_tokens=_MOST_TOKENS, constraint=constraint
    )
    return {
        "constraint": kind,
        "honoured": not reply.violation,
        "said": "; ".join(filter(None, [reply.violation, reply.note])) or None,
        "cut": reply.finish_reason == "length",
        "text": reply.text,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "seconds": reply.latency_s,
        "tokens_per_s": _speed(reply),
    }


def _repeats(model: ChatModel) -> dict[str, Any]:
    """Whether a seeded request gets the same text, asked alone again and as one of a batch.

    Kernels that add in another order for another batch round differently, so that a text may
    change in a batch and stay the same alone.

    Returns:
        ``alone`` and ``batch`` (None where there is no text to compare), the number of the first
        character that differs of each (None where none does), ``batch_size``, and ``tokens`` of
        the first reply.

    Raises:
        ModelError: a reply came to nothing.
    """
    request = _REPEATED
    (first, *_) = _replies(model, request)
    if not first.text:  # all of it were thoughts
        request = replace(request, max_tokens=_MOST_TOKENS)
        (first, *_) = _replies(model, request)
    found: dict[str, Any] = {"batch_size": _BATCH, "tokens": first.completion_tokens}
    for name, n in (("alone", 1), ("batch", _BATCH)):
        # The first of several draws as the only one does: reply i has the seed's i-th stream.
        replies = _replies(model, replace(request, n=n))
        told = bool(first.text) and len(replies) == n
        found[name] = replies[0].text == first.text if told else None
        found[f"{name}_differs_at"] = _differs_at(first.text, replies[0].text) if told else None
    return found


def _differs_at(one: str, other: str) -> int | None:
    """Number of the first character that differs, from 1; None for equal texts."""
    if one == other:
        return None
    pairs = enumerate(zip(one, other, strict=False), start=1)
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)) + 1)


def _one_reply(model: ChatModel, words: str, **asked: Any) -> Completion:
    """The reply to one message.

    Raises:
        ModelError: there is none, or it came to nothing.
    """
    (reply,) = _replies(model, ChatRequest([Message("user", words)], **asked))
    return reply


def _replies(model: ChatModel, request: ChatRequest) -> list[Completion]:
    replies = model.complete(request)
    for reply in replies:
        if reply.finish_reason == "error":
            raise ModelError(reply.note)
    return replies


def _speed(reply: Completion) -> float | None:
    return reply.completion_tokens / reply.latency_s if reply.latency_s > 0 else None
