"""A tracker in a thread of its own, so that training never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from qllm.trackers.points import Point
from qllm.trackers.protocol import Status, TrackedRun, Tracker, TrackerError, reason

PATIENCE_S = 120.0
"""Seconds that a single call may take before the tracker counts as hanging."""

LAST_S = 120.0
"""Time in seconds that a training waits at its end for unwritten points."""


class Background:
    """A tracker whose calls are made in a daemon thread, one after the other.

    Points that gather while a call is under way go into the next one together, so that a slow
    service gets fewer and larger calls. Each method tells what has gone wrong so far.

    Args:
        tracker: used by that thread only.
        last_s: seconds that `finish` waits.

    Raises:
        TrackerError: a call failed or hangs; nothing more is done after a failure.
    """

    def __init__(
        self, tracker: Tracker, *, patience_s: float = PATIENCE_S, last_s: float = LAST_S
    ) -> None:
        self._tracker, self._patience_s, self._last_s = tracker, patience_s, last_s
        self._news = threading.Condition()
        self._points: list[Point] = []
        self._status: Status | None = None
        self._problem: str | None = None
        self._since: float | None = None
        """When the call that is under way began."""

    def begin(self, run: TrackedRun) -> None:
        self._thread = threading.Thread(target=self._work, args=(run,), daemon=True)
        self._thread.start()

    def add(self, points: Sequence[Point]) -> None:
        self._check()
        with self._news:
            self._points += points
            self._news.notify()

    def finish(self, status: Status) -> None:
        """Wait for the end of everything, ``last_s`` at most."""
        self._check()
        with self._news:
            self._status = status
            self._news.notify()
        self._thread.join(self._last_s)
        self._check()
        if self._thread.is_alive():
            raise TrackerError(f"it was not done {self._last_s:g} s after the end")

    def _check(self) -> None:
        since = self._since
        if self._problem is not None:
            raise TrackerError(self._problem)
        if since is not None and time.monotonic() - since > self._patience_s:
            raise TrackerError(f"it has not answered for {self._patience_s:g} s")

    def _work(self, run: TrackedRun) -> None:
        try:
            self._call(self._tracker.begin, run)
            status = None
            while status is None:
                with self._news:
                    self._news.wait_for(lambda: self._points or self._status)
                    points, self._points, status = self._points, [], self._status
                if points:
                    self._call(self._tracker.add, points)
            self._call(self._tracker.finish, status)
        except BaseException as error:  # noqa: BLE001 - a service may even raise SystemExit
            self._problem = reason(error)

    def _call(self, method: Callable[..., None], given: Any) -> None:
        self._since = time.monotonic()
        method(given)
        self._since = None
