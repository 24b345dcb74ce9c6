"""Messages between a model's user and its worker: JSON over one socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from models.protocol import ChatRequest, Constraint, Message

_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Opening:
    """What a worker is to load, and how."""

    name: str
    path: str
    template: str
    context: int
    """Most tokens of one conversation with its reply."""
    cells: int
    """Tokens of all conversations together."""
    rows: int
    """Replies at once."""
    threads: int
    top_k: int
    top_p: float
    """Of `Sampling`."""
    may_be_gpu: bool = False
    must_be_gpu: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of the chat template."""


def send(channel: Connection, message: Mapping[str, Any]) -> None:
    """Send one message; a broken socket raises ``OSError``."""
    channel.send_bytes(json.dumps(message).encode())


class NoMessage(Exception):
    """What came is none: the other end is gone, or it is not what it should be."""


def receive(channel: Connection) -> dict[str, Any]:
    """Wait for one message.

    Raises:
        NoMessage: the other end is gone or sent something else, or more than 64 MiB.
    """
    try:
        found = json.loads(channel.recv_bytes(_MOST_BYTES))
    except (OSError, EOFError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise NoMessage(str(error) or type(error).__name__) from None
    if not isinstance(found, dict):
        raise NoMessage("no JSON object came")
    return found


def request_from(document: Mapping[str, Any]) -> ChatRequest:
    """A request from what ``asdict`` made of it."""
    constraint = document["constraint"]
    return ChatRequest(
        **{
            **document,
            "messages": [Message(**message) for message in document["messages"]],
            "constraint": None if constraint is None else Constraint(**constraint),
        }
    )
