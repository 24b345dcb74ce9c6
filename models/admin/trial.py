"""Try a model: one completion under each kind of constraint."""

from __future__ import annotations

import time
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


def try_model(model: ChatModel, entry: ModelEntry) -> dict[str, Any]:
    """One completion under each kind of constraint.

    Returns:
        The keys of ``qllm models check --json``; ``ok`` says whether every constraint held.

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


def _one_reply(model: ChatModel, words: str, **asked: Any) -> Completion:
    """The reply to one message.

    Raises:
        ModelError: there is none, or it came to nothing.
    """
    (reply,) = model.complete(ChatRequest([Message("user", words)], **asked))
    if reply.finish_reason == "error":
        raise ModelError(reply.note)
    return reply


def _speed(reply: Completion) -> float | None:
    return reply.completion_tokens / reply.latency_s if reply.latency_s > 0 else None
