"""Validate replies against their constraints, which a server may have ignored silently."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema

from models.protocol import Constraint, ModelError


def violation(text: str, constraint: Constraint | None, *, cut: bool = False) -> str:
    """A reply's violation of its constraint, in words; empty if it keeps to it or there is none.

    Args:
        text: The reply.
        constraint: What it was asked under.
        cut: Whether the token limit ended the reply, so that it need only be a beginning.

    Raises:
        ModelError: the constraint itself cannot be used, or checking it needs a package that is
            not installed.
    """
    if constraint is None:
        return ""
    if constraint.kind == "json":
        return _json_violation(text, constraint.value, cut=cut)
    return _grammar_violation(text, str(constraint.value), cut=cut)


def _json_violation(text: str, schema: Any, *, cut: bool) -> str:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if cut:
            return ""
        return f"it is no JSON: {error.msg} at character {error.pos}"
    except RecursionError:
        return "it is JSON nested too deeply"
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(document)
    except jsonschema.ValidationError as error:
        place = ".".join(map(str, error.absolute_path)) or "the document"
        return f"{place}: {error.message[:200]}"
    except jsonschema.SchemaError as error:
        raise ModelError(f"the JSON schema cannot be used: {error.message}") from None
    return ""


def _grammar_violation(text: str, grammar: str, *, cut: bool) -> str:
    llguidance, tokenizer = _llguidance()
    matcher = llguidance.LLMatcher(
        tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
    )
    if matcher.is_error():
        raise ModelError(f"the grammar cannot be used: {matcher.get_error()}")
    data = text.encode()
    count = matcher.try_consume_tokens(list(data))  # a byte tokenizer: token i is byte i
    if count < len(data):
        place = len(data[:count].decode(errors="ignore"))
        line = text.count("\n", 0, place) + 1
        return f"it leaves the grammar in line {line}, at {text[place : place + 20]!r}"
    if not cut and not matcher.is_accepting():
        return "it ends in the middle of the grammar"
    return ""


@lru_cache(maxsize=1)
def _llguidance() -> tuple[Any, Any]:
    try:
        import llguidance
    except ImportError:
        raise ModelError(
            "grammars need the package llguidance: pip install -e '.[models]'"
        ) from None
    return llguidance, llguidance.LLTokenizer("byte")
