"""Messages between the parent, the zygote and a child: a length, then JSON. Never a pickle."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

MAX_MESSAGE = 8 << 20
_HEADER = struct.Struct(">I")


class WireError(Exception):
    """The other side closed, was too slow, or sent what is not a message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind  # "closed" | "timeout" | "malformed"


def send(fd: int, message: Any, deadline: float | None = None) -> None:
    """Write one message.

    Raises:
        WireError: the other side is gone or does not read before the deadline.
    """
    body = json.dumps(message).encode()
    data = memoryview(_HEADER.pack(len(body)) + body)
    while data:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [fd], [], left)[1]:
                raise WireError("timeout", "the other side does not read")
        try:
            data = data[os.write(fd, data[:65_536] if deadline is not None else data) :]
        except (BrokenPipeError, ConnectionResetError):
            raise WireError("closed", "the other side is gone") from None


def _read_exactly(fd: int, count: int, deadline: float | None) -> bytes:
    parts, left = [], count
    while left:
        if deadline is not None:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([fd], [], [], wait)[0]:
                raise WireError("timeout", "no answer in time")
        part = os.read(fd, min(left, 1 << 16))
        if not part:
            raise WireError("closed", f"the other side stopped {left} bytes short")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def receive(fd: int, deadline: float | None = None) -> Any:
    """Read one message as JSON data, whose form the caller must not trust.

    Raises:
        WireError: closed, too late, too long, or not JSON.
    """
    (size,) = _HEADER.unpack(_read_exactly(fd, _HEADER.size, deadline))
    if size > MAX_MESSAGE:
        raise WireError("malformed", f"a message of {size:,} bytes")
    body = _read_exactly(fd, size, deadline)
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise WireError("malformed", "not JSON") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
