"""Programs sampled from a grammar: random walks with llguidance's matcher, byte by byte."""

from __future__ import annotations

import functools
import random
from typing import Any

import llguidance
import numpy as np

_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_WAYS_OUT = ((b"return ", b"def tfcaf(state):\n"), (b"return ", b"def tfcaf(qs, state):\n"))
_CLOSING = b"\n)]}'\"=(, :["


@functools.cache
def byte_tokenizer() -> Any:
    """Token i is byte i."""
    return llguidance.LLTokenizer("byte")


@functools.lru_cache(maxsize=16)
def matcher(grammar: str) -> Any:
    """A matcher at the grammar's start, to be copied before it is moved."""
    made = llguidance.LLMatcher(
        byte_tokenizer(), llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
    )
    assert not made.is_error(), made.get_error()
    return made


def walk(start: Any, rng: random.Random, budget: int) -> str:
    """A random text: ``budget`` free steps, and then the shortest way out that is at hand.

    A walk that were free to its end would nest as deeply as the grammar allows, everywhere.
    """
    at, ways = start.deep_copy(), rng.choice(_WAYS_OUT)
    out = bytearray()
    while not at.is_stopped():
        allowed = _allowed(at)
        at_line_start = not out.rpartition(b"\n")[2].strip()
        forced = _way_out(at, ways) if len(out) >= budget and at_line_start else b""
        step = forced or bytes([_pick(allowed, rng, len(out) >= budget)]) if allowed else b""
        if not step or (at.is_accepting() and len(out) >= budget):
            break
        assert at.consume_tokens(list(step)), at.get_error()
        out += step
    assert not at.is_error(), at.get_error()
    assert at.is_accepting()
    return out.decode("ascii")


def _allowed(at: Any) -> list[int]:
    bits = np.unpackbits(np.frombuffer(at.compute_bitmask(), np.uint8), bitorder="little")
    assert not at.is_error(), at.get_error()
    return [int(i) for i in bits.nonzero()[0] if i < 256]


def _way_out(at: Any, ways: tuple[bytes, ...]) -> bytes:
    for text in ways:
        if at.validate_tokens(list(text)) == len(text):
            return text
    return b""


def _pick(allowed: list[int], rng: random.Random, hurry: bool) -> int:
    if hurry:
        for byte in _CLOSING:
            if byte in allowed:
                return byte
    marks = [b for b in allowed if b not in _WORD]
    words = [b for b in allowed if b in _WORD]
    return rng.choice(words if (words and rng.random() < 0.6) or not marks else marks)


def first_departure(grammar: str, text: str) -> str:
    """Where a text leaves the grammar, in words; empty where it does not."""
    at = matcher(grammar).deep_copy()
    data = text.encode()
    count = at.try_consume_tokens(list(data))
    if count < len(data):
        return f"{data[max(0, count - 50) : count].decode()!r} then {data[count:][:30].decode()!r}"
    return "" if at.is_accepting() else "it ends too early"
