"""Several trainings at once, each in a process of its own, watched by the job."""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from qllm.config.build import from_stored
from qllm.display import Bar, Display
from qllm.errors import WorkError
from qllm.jobs.processes import TrainingProcess, cores
from qllm.jobs.session import Session
from qllm.jobs.wire import Began, Ended, Left, Moved, Noted
from qllm.store.errors import StoreError
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.store import Store

WAIT_S = 0.1
"""The longest that nobody looks at signals, commands and processes."""

LEAVE_S = 30.0
"""What processes get to save their trainings where the job itself fails."""


def failure_line(run: Run, error: str) -> str:
    """A training that failed, in a line."""
    return f"run {run.id} ({run.algo}, seed {run.seed}): {error}"


def run_parallel(
    session: Session, parent_id: int, waiting: Sequence[Run], parallel: int
) -> list[str]:
    """Do the trainings of a run, ``parallel`` at once; returns what went wrong, a line each.

    Each process trains exactly as this one would. When the run is told to stop, every process saves
    a checkpoint and ends, and the rest stay queued.

    Raises:
        KeyboardInterrupt: a second Ctrl-C; the processes have been killed.
    """
    queue = list(waiting)
    _warn_of_crowding(session.display, queue, parallel)
    total = session.store.runs.get(parent_id).total_steps
    with session.display.begin(f"{len(queue)} trainings", total) as bar:
        with _Crew(session, bar, parent_id) as crew:
            while queue or crew.size:
                answer = session.control.training()
                stopping = session.control.stopping(parent_id)
                if stopping:
                    queue.clear()
                crew.tell("stop" if stopping else answer)
                while queue and answer == "continue" and crew.size < parallel:
                    crew.start(queue.pop(0))
                crew.listen()
        bar.finish(crew.outcome())
    return crew.failures


def _warn_of_crowding(display: Display, queue: Sequence[Run], parallel: int) -> None:
    threads = max(from_stored(run.config).threads for run in queue)
    at_once, there = min(parallel, len(queue)), cores()
    if threads * at_once > there:
        display.note(
            f"{at_once} trainings at once with threads={threads} want {threads * at_once} CPU "
            f"cores, and there are {there}: threads that share a core may be several times "
            f"slower (--parallel {max(1, there // threads)} fits)",
            "warning",
        )


class _Crew:
    """The processes that train at this moment, and what they have come to so far."""

    def __init__(self, session: Session, bar: Bar, parent_id: int) -> None:
        self._store: Store = session.store
        self._display: Display = session.display
        self._total = bar
        self._processes: list[TrainingProcess] = []
        self._bars: dict[int, Bar] = {}
        self._rates: dict[int, float] = {}
        children = self._store.runs.children(parent_id)
        self._steps = {run.id: run.env_steps for run in children if run.kind == "train"}
        self._ended = 0
        self.failures: list[str] = []

    @property
    def size(self) -> int:
        """How many train."""
        return len(self._processes)

    def start(self, run: Run) -> None:
        """Start the process of a training."""
        try:
            threads = from_stored(run.config).threads
            self._processes.append(TrainingProcess(self._store, run, threads))
        except OSError as error:
            self._fail(run, f"no process can be started ({error.strerror}): lower `parallel`")

    def tell(self, word: str) -> None:
        """Pass on what the run is told."""
        for process in self._processes:
            process.tell("pause" if word == "pause" else "stop" if word == "stop" else "continue")

    def listen(self) -> None:
        """Show what the processes say, and see to those that have ended; returns within WAIT_S."""
        if not self._processes:
            time.sleep(WAIT_S)  # paused, with nothing begun
            return
        select.select(self._processes, [], [], WAIT_S)
        for process in list(self._processes):
            gone = process.ended  # asked first: what is heard after the end is all there is
            self._hear(process, gone)

    def _hear(self, process: TrainingProcess, gone: bool) -> None:
        run, last = process.run, None
        for message in process.heard():
            match message:
                case Began():
                    self._bars[run.id] = self._display.begin(
                        message.title, message.total, unit=message.unit, done=message.done
                    )
                    self._moved(run, message.done, None)
                case Moved():
                    self._bars[run.id].update(
                        message.done, rate=message.rate, detail=message.detail
                    )
                    self._moved(run, message.done, message.rate)
                case Left():
                    self._bars.pop(run.id).finish(message.outcome)
                case Noted():
                    self._display.note(f"run {run.id}: {message.text}", message.level)
                case Ended():
                    last = message
        if last is not None:
            gone = True
            process.close(LEAVE_S)
        elif gone:
            process.close()
        if gone:
            self._processes.remove(process)
            self._rates.pop(run.id, None)
            error = process.death() if last is None else last.error
            if error is None:
                self._ended += 1
            else:
                self._fail(run, error)

    def _moved(self, run: Run, steps: int, rate: float | None) -> None:
        self._steps[run.id] = steps
        if rate is not None:
            self._rates[run.id] = rate
        detail = f"{self.size} at once, {self._ended} done"
        rates = sum(self._rates.values()) if self._rates else None
        self._total.update(sum(self._steps.values()), rate=rates, detail=detail)

    def _fail(self, run: Run, error: str) -> None:
        bar = self._bars.pop(run.id, None)
        if bar is not None:
            bar.__exit__(WorkError, WorkError(error), None)
        # Unless its process has said so itself, or another one works on it.
        if derived_status(self._store.runs.get(run.id)) in ("queued", "died"):
            self._store.runs.finish(run.id, "failed", error=error)
        self.failures.append(failure_line(run, error))
        self._display.note(self.failures[-1], "error")

    def outcome(self) -> str:
        """What all came to, in words."""
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"{self._ended} ended{failed}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See to it that no process is left, whatever ended the watching."""
        at_once = kind is not None and issubclass(kind, KeyboardInterrupt)
        for process in self._processes:
            process.leave_alone()
        until = time.monotonic() + (0.0 if at_once else LEAVE_S)
        for process in self._processes:
            process.close(max(0.0, until - time.monotonic()))
            try:
                if derived_status(self._store.runs.get(process.run.id)) == "died":
                    self._store.runs.finish(process.run.id, "stopped", error="interrupted")
            except StoreError:
                continue  # what ended the watching, most likely; it is shown as died
