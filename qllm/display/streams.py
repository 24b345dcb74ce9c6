"""Writing to a terminal that may go away: a job outlives the window that started it."""

from __future__ import annotations

import io
from typing import TextIO

from qllm.output import REPLACED


class SteadyStream(io.TextIOBase):
    """A text stream that falls silent, instead of raising, once its far end is gone.

    A closed terminal gives EIO, a closed pipe EPIPE. Progress is not worth a training run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.alive = True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always: writing never fails here."""
        return True

    def write(self, text: str) -> int:
        """Pass ``text`` on, with characters that the encoding lacks replaced."""
        if self.alive:
            try:
                self._stream.write(encodable(text, self.encoding))
            except (OSError, ValueError):  # ValueError: the stream was closed in this process
                self.alive = False
        return len(text)

    def flush(self) -> None:
        if self.alive:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self.alive = False


def encodable(text: str, encoding: str) -> str:
    """``text`` with marks in ASCII, and "?", where ``encoding`` has no such character."""
    return text.encode(encoding, errors=REPLACED).decode(encoding)
