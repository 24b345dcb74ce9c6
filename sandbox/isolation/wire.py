"""Messages between the parent, the zygote and a child: a length, then JSON. Never a pickle."""

from __future__ import annotations

import json
import os
import re
import select
import struct
import time
from typing import Any

MAX_MESSAGE = 8 << 20
_HEADER = struct.Struct(">I")
_CHUNK = 1 << 16
_LARGE_NUMBER = re.compile(rb"\d{19}|\d[eE]\+?\d{3}")
_MAX_INT = 2**63 - 1


class WireError(Exception):
    """The other side closed, was too slow, or sent what is not a message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind  # "closed" | "timeout" | "malformed"


def send(fd: int, message: Any, deadline: float | None = None) -> None:
    """Write one message. With a deadline the descriptor must be non-blocking.

    A blocking write of more than a pipe holds would wait for as long as the other side likes.

    Raises:
        WireError: the other side is gone or does not read before the deadline.
    """
    body = json.dumps(message).encode()
    data = memoryview(_HEADER.pack(len(body)) + body)
    while data:
        if deadline is not None:
            _wait(fd, select.POLLOUT, deadline, "the other side does not read")
        try:
            data = data[os.write(fd, data[:_CHUNK]) :]
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            raise WireError("closed", "the other side is gone") from None


def _wait(fd: int, event: int, deadline: float, message: str) -> None:
    # poll, since select refuses descriptors from 1,024 on, which a busy parent has.
    poller = select.poll()
    poller.register(fd, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise WireError("timeout", message)


def _read_exactly(fd: int, count: int, deadline: float | None) -> bytes:
    parts, left = [], count
    while left:
        if deadline is not None:
            _wait(fd, select.POLLIN, deadline, "no answer in time")
        try:
            part = os.read(fd, min(left, _CHUNK))
        except BlockingIOError:
            continue
        if not part:
            raise WireError("closed", f"the other side stopped {left} bytes short")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def receive(fd: int, deadline: float | None = None) -> Any:
    """Read one message as JSON data, whose form the caller must not trust.

    It holds no NaN, no infinity, and no integer of more than 64 bits.

    Raises:
        WireError: closed, too late, too long, or not JSON.
    """
    (size,) = _HEADER.unpack(_read_exactly(fd, _HEADER.size, deadline))
    if size > MAX_MESSAGE:
        raise WireError("malformed", f"a message of {size:,} bytes")
    body = _read_exactly(fd, size, deadline)
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
