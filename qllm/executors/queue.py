"""Tasks on their way through an executor: a limited number at a time, retried if a worker dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qllm.errors import UsageError, WorkError
from qllm.executors.base import DiedError, Executor, Task

TRIES = 3
"""Attempts at a task whose worker dies."""


@dataclass
class TaskQueue:
    """Tasks by their places, in the order in which they were added."""

    executor: Executor
    warn: Callable[[str], None]
    """Takes a message about a worker that died."""
    stopping: bool = field(default=False, init=False)
    _texts: list[tuple[str, str]] = field(default_factory=list, init=False)
    """Title and text of each."""
    _waiting: list[int] = field(default_factory=list, init=False)
    _at_work: dict[int, Task] = field(default_factory=dict, init=False)
    _begun: list[int] = field(default_factory=list, init=False)
    """Attempts at each."""
    _over: list[tuple[int, dict[str, Any]]] = field(default_factory=list, init=False)

    @property
    def left(self) -> int:
        """Waiting and running tasks."""
        return len(self._waiting) + len(self._at_work)

    def add(self, title: str, text: str) -> int:
        """Take a task; its place among all so far.

        Args:
            title: for people.
            text: for `qllm.executors.task.perform`.
        """
        self._texts.append((title, text))
        self._begun.append(0)
        self._waiting.append(len(self._texts) - 1)
        return self._waiting[-1]

    def begin(self) -> None:
        """Submit as many as the executor takes now."""
        most = self.executor.at_once or len(self._texts)
        while self._waiting and len(self._at_work) < most:
            place = self._waiting.pop(0)
            self._begun[place] += 1
            try:
                self._at_work[place] = self.executor.submit(self._texts[place][1])
            except DiedError as error:
                self._died(place, str(error))
            except (UsageError, WorkError) as error:
                self._failed(place, str(error))

    def ended(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Places and answers of tasks that have ended since the last call."""
        for place, task in list(self._at_work.items()):
            try:
                text = task.answer()
            except (DiedError, UsageError) as error:
                del self._at_work[place]
                dead = isinstance(error, DiedError)
                (self._died if dead else self._failed)(place, str(error))
                continue
            if text is None:
                continue
            del self._at_work[place]
            answer = json.loads(text)
            if answer["status"] == "stopped":  # by the executor's own queue, if not by us
                self._died(place, "was stopped")
            else:
                self._over.append((place, answer))
        over, self._over = self._over, []
        yield from over

    def stop(self) -> None:
        """Drop the waiting tasks, and ask the running ones to end."""
        self.stopping = True
        self._waiting.clear()
        for task in self._at_work.values():
            task.stop()

    def _failed(self, place: int, error: str) -> None:
        self._over.append((place, {"status": "failed", "error": error}))

    def _died(self, place: int, reason: str) -> None:
        if self.stopping:
            self._over.append((place, {"status": "stopped", "error": reason}))
            return
        again = self._begun[place] < TRIES
        then = "it is begun again" if again else f"it was begun {TRIES} times"
        self.warn(f"{self._texts[place][0]}: {reason}; {then}")
        if again:
            self._waiting.append(place)
        else:
            self._over.append((place, {"status": "died", "error": reason}))
