"""One chunk of a streamed chat completion, held to what it may hold before anything reads it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.protocol import BadReply

_MOST_TOKENS = 10**8
"""A count beyond this is no count."""


@dataclass(frozen=True)
class Piece:
    """A piece of one reply."""

    index: int
    """Place among the replies of the request."""
    text: str = ""
    thought: str = ""
    """Text that the server takes for thoughts before the answer."""
    finish: str = ""
    """Why the reply ends with this piece; empty while it goes on."""


@dataclass(frozen=True)
class Chunk:
    """Contents of one event of a stream. A count that is none is ``None``."""

    pieces: tuple[Piece, ...]
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def read_chunk(document: Any, n: int) -> Chunk:
    """The chunk in a JSON document.

    What stands in for nothing is taken so: no choices, no delta, usage of another form, an index
    left out where there is but one reply. Pieces of replies that were not requested are dropped.

    Args:
        document: An event, or a whole completion of a server that does not stream.
        n: How many replies were asked for.

    Raises:
        BadReply: a piece of text cannot be read; without it the reply would have a hole.
    """
    if not isinstance(document, dict):
        raise _unreadable("it", document, "an object")
    choices = document.get("choices")
    if choices is None:
        choices = []
    if not isinstance(choices, list):
        raise _unreadable("'choices'", choices, "a list")
    pieces = tuple(_piece(choice, n) for choice in choices)
    usage = document.get("usage")
    counts: Mapping[str, Any] = usage if isinstance(usage, dict) else {}
    return Chunk(
        tuple(piece for piece in pieces if 0 <= piece.index < n),
        count(counts.get("prompt_tokens")),
        count(counts.get("completion_tokens")),
    )


def count(value: Any) -> int | None:
    """A number of tokens, or ``None`` where it cannot be one."""
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _piece(choice: Any, n: int) -> Piece:
    if not isinstance(choice, dict):
        raise _unreadable("a choice", choice, "an object")
    index = choice.get("index")
    if index is None and n == 1:
        index = 0
    if type(index) is not int:
        raise _unreadable("'index'", index, "an integer")
    # A server that does not stream says ``message`` where others say ``delta``.
    delta = choice.get("delta") or choice.get("message") or {}
    if not isinstance(delta, dict):
        raise _unreadable("'delta'", delta, "an object")
    finish = choice.get("finish_reason")
    return Piece(
        index,
        _text(delta, "content"),
        _text(delta, "reasoning_content") or _text(delta, "reasoning"),
        finish if isinstance(finish, str) else repr(finish)[:40] if finish else "",
    )


def _text(delta: Mapping[str, Any], name: str) -> str:
    value = delta.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable(f"'{name}'", value, "text")
    return value


def _unreadable(what: str, value: Any, wanted: str) -> BadReply:
    names: dict[type, str] = {
        type(None): "null", bool: "a truth value", int: "a number", float: "a number",
        str: "text", list: "a list", dict: "an object",
    }  # fmt: skip
    found = names.get(type(value), type(value).__name__)
    return BadReply(
        f"the server sent a chunk that cannot be read: {what} is {found}, and should be {wanted}"
    )


class CleanText:
    """Joins pieces of text into what can be stored anywhere: halves of surrogate pairs that belong
    together are put together, lone ones and NUL become U+FFFD.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-16-le")("replace")

    def push(self, text: str, *, final: bool = False) -> str:
        """The text of another piece; half a pair at its end is kept for the next one."""
        data = text.encode("utf-16-le", "surrogatepass")
        return self._decoder.decode(data, final).replace("\0", "\ufffd")
