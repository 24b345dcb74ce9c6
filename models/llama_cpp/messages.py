"""Messages between a model's user and its worker: JSON over one socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from models.protocol import ChatRequest, Completion, Constraint, Message


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


def receive(channel: Connection) -> dict[str, Any]:
    """Wait for one message.

    Raises:
        EOFError: the other end is gone.
    """
    found: dict[str, Any] = json.loads(channel.recv_bytes())
    return found


def request_document(request: ChatRequest) -> dict[str, Any]:
    """A request as JSON."""
    return asdict(request)


def request_from(document: Mapping[str, Any]) -> ChatRequest:
    """The request that `request_document` wrote."""
    constraint = document["constraint"]
    return ChatRequest(
        **{
            **document,
            "messages": [Message(**message) for message in document["messages"]],
            "constraint": None if constraint is None else Constraint(**constraint),
        }
    )


def completion_from(document: Mapping[str, Any]) -> Completion:
    """A reply from JSON."""
    return Completion(**document)
