"""Messages between the parent, the zygote and a child: a length, then JSON. Never a pickle."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable
from select import POLLIN, POLLOUT
from typing import Any

MAX_MESSAGE = 8 << 20
_HEADER = struct.Struct(">I")
_CHUNK = 1 << 16
_LARGE_NUMBER = re.compile(rb"\d{19}|\d[eE]\+?\d{3}")
_MAX_INT = 2**63 - 1


Wait = Callable[[int, int], None]
"""Returns when a descriptor is ready for an event of ``select.poll``; raises `WireError` instead of
waiting for ever."""


class WireError(Exception):
    """The other side closed, was too slow, or sent what is not a message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind  # "closed" | "timeout" | "starved" | "malformed"


def send(fd: int, message: Any, wait: Wait | None = None) -> None:
    """Write one message. With ``wait`` the descriptor must be non-blocking.

    A blocking write of more than a pipe holds would wait for as long as the other side likes.

    Raises:
        WireError: the other side is gone or does not read.
    """
    body = json.dumps(message).encode()
    data = memoryview(_HEADER.pack(len(body)) + body)
    while data:
        if wait is not None:
            wait(fd, POLLOUT)
        try:
            data = data[os.write(fd, data[:_CHUNK]) :]
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            raise WireError("closed", "the other side is gone") from None


def _read_exactly(fd: int, count: int, wait: Wait | None) -> bytes:
    parts, left = [], count
    while left:
        if wait is not None:
            wait(fd, POLLIN)
        try:
            part = os.read(fd, min(left, _CHUNK))
        except BlockingIOError:
            continue
        if not part:
            raise WireError("closed", f"the other side stopped {left} bytes short")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def receive(fd: int, wait: Wait | None = None) -> Any:
    """Read one message as JSON data, whose form the caller must not trust.

    It holds no NaN, no infinity, and no integer of more than 64 bits.

    Raises:
        WireError: closed, too late, too long, or not JSON.
    """
    (size,) = _HEADER.unpack(_read_exactly(fd, _HEADER.size, wait))
    if size > MAX_MESSAGE:
        raise WireError("malformed", f"a message of {size:,} bytes")
    body = _read_exactly(fd, size, wait)
    try:
        # Reading numbers by functions of our own is slow, and hardly any message has large ones.
        if _LARGE_NUMBER.search(body):
            return json.loads(
                body,
                parse_constant=_refuse_constant,
                parse_int=_bounded_int,
                parse_float=_finite_float,
            )
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise WireError("malformed", "not JSON") from None


def _bounded_int(text: str) -> int:
    number = int(text)
    if abs(number) > _MAX_INT:
        raise ValueError("an integer of more than 64 bits")
    return number


def _finite_float(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError("not a finite number")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
