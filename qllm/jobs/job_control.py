"""Control of a running job: signals, commands that arrive through the store, the heartbeat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from qllm.store.errors import StoreError
from qllm.store.schema import Command
from qllm.store.store import Store
from synth.control import Directive

POLL_S = 0.25
"""Commands are looked up at most this often; engines ask far more often than that."""

_STRONGEST_FIRST: tuple[Directive, ...] = ("stop", "pause", "stop-after-round")


class JobControl:
    """Answers the engines' question whether to go on.

    A job works on a run and, within it, on one of its children. A command to either is obeyed; one
    to a child ends with the child.

    Args:
        clock: seconds, for tests.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._watched: list[int] = []
        self._asked = -POLL_S + clock()
        self._said: dict[int, set[str]] = {}
        self._answers: dict[int, list[Command]] = {}
        self._paused = False
        self.signal: int | None = None
        """The signal that asked this process to stop."""
        self.told: str = "continue"
        """Word of the job that started this process: ``continue``, ``pause`` or ``stop``."""
        self.reason: str | None = None
        """Why `stop_because` was called."""

    @property
    def run_ids(self) -> tuple[int, ...]:
        """The running runs, outermost first."""
        return tuple(self._watched)

    @contextmanager
    def watching(self, run_id: int) -> Iterator[None]:
        """Obey commands to a run. Those that were meant for an earlier attempt are dropped."""
        stale = [command.id for command in self._store.commands.pending([run_id])]
        if stale:
            self._store.commands.acknowledge(stale)
        self._said[run_id], self._answers[run_id] = set(), []
        self._watched.append(run_id)
        if self._paused:  # the pause began before this run
            self._store.runs.set_status(run_id, "paused")
        try:
            yield
        finally:
            self._watched.remove(run_id)
            del self._said[run_id], self._answers[run_id]

    def __call__(self) -> Directive:
        """The directive to the engine."""
        now = self._clock()
        if now - self._asked >= POLL_S:
            self._asked = now
            self._poll()
        if self.signal is not None:
            return "stop"
        said = {self.told}.union(*self._said.values())
        answer: Directive = next((word for word in _STRONGEST_FIRST if word in said), "continue")
        self._show_paused(answer == "pause")
        return answer

    def training(self) -> Literal["continue", "pause", "stop"]:
        """The answer for an engine without rounds."""
        answer = self()
        return "continue" if answer == "stop-after-round" else answer

    def stopping(self, run_id: int) -> bool:
        """Whether this run (not merely a child of it) is to stop."""
        asked = self.signal is not None or self.told == "stop"
        return asked or "stop" in self._said.get(run_id, ())

    def stop_because(self, reason: str) -> None:
        """Stop the current work, until `go_on`; the run gets the reason as its error."""
        self.told, self.reason = "stop", reason

    def go_on(self) -> None:
        """Take back `stop_because`."""
        self.told, self.reason = "continue", None

    def take_answer(self, run_id: int) -> Command | None:
        """The oldest ``approve`` or ``reject`` to a run that was not taken yet; asks the store for
        new ones as seldom as ``__call__`` does."""
        self()
        answers = self._answers.get(run_id)
        return answers.pop(0) if answers else None

    def _poll(self) -> None:
        taken = []
        for command in self._store.commands.pending(self._watched):
            said = self._said[command.run_id]
            if command.name in ("approve", "reject"):
                self._answers[command.run_id].append(command)
            elif command.name == "resume":
                said.discard("pause")
            elif command.name in _STRONGEST_FIRST:
                said.add(command.name)
            else:
                continue
            taken.append(command.id)
        if taken:
            self._store.commands.acknowledge(taken)

    def _show_paused(self, paused: bool) -> None:
        if paused == self._paused:
            return
        self._paused = paused
        for run_id in self._watched:
            self._store.runs.set_status(run_id, "paused" if paused else "running")


@contextmanager
def heartbeat(store: Store, control: JobControl, every_s: float = 5.0) -> Iterator[None]:
    """Write the heartbeat of this process's runs every few seconds, from a thread."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            run_ids = control.run_ids
            if not run_ids:
                continue
            try:
                store.runs.beat(run_ids)
            except StoreError:
                continue  # locked for a moment: the next beat says the same

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
