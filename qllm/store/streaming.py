"""A reply that is stored while it is being written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from qllm.store.synthesis import SynthesisTable, Turn

FLUSHES_PER_S = 5.0


class StreamedReply:
    """Collects the text of one reply and writes it to the store at most five times a second.

    Args:
        turn: the reply's place in its conversation; its content is what has been written so far.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        table: SynthesisTable,
        run_id: int,
        attempt: int,
        turn: Turn,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table, self._run_id, self._attempt = table, run_id, attempt
        self._turn, self._clock = replace(turn, streaming=True), clock
        self._parts = [turn.content]
        self._flushed_at = -1.0 / FLUSHES_PER_S + clock()

    def append(self, text: str) -> None:
        """More text; written through when the last write is long enough ago."""
        self._parts.append(text)
        now = self._clock()
        if now - self._flushed_at >= 1.0 / FLUSHES_PER_S:
            self._flushed_at = now
            self._parts = ["".join(self._parts)]
            turn = replace(self._turn, content=self._parts[0])
            self._table.record_turns(self._run_id, self._attempt, [turn])
