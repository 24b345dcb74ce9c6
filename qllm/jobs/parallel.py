"""Parallel trainings, each in its own process, supervised by the job."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Self

from qllm.config.build import from_stored
from qllm.display import Bar, Display
from qllm.errors import WorkError
from qllm.jobs.child_process import cores
from qllm.jobs.credit import TrainedCredit, trains_with_credit
from qllm.jobs.messages import BarBegan, BarEnded, BarMoved, Ended, Message, Note, Word
from qllm.jobs.session import Session
from qllm.jobs.training_process import TrainingProcess
from qllm.store.errors import StoreError
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.store import Store

WAIT_S = 0.1
"""Seconds between two looks at signals, commands and processes, at most."""

LEAVE_S = 30.0
"""Seconds that processes have to save their trainings where the job itself fails."""


def failure_line(run: Run, error: str) -> str:
    """A training that failed, in a line."""
    return f"run {run.name} ({run.algo}, seed {run.seed}): {error}"


def run_parallel(
    session: Session,
    parent_id: int,
    waiting: Sequence[Run],
    parallel: int,
    credit: TrainedCredit | None = None,
) -> list[str]:
    """Do the trainings of a run, ``parallel`` at once; returns the failures, a line each.

    Each process trains exactly as this one would. When the run is told to stop, every process saves
    a checkpoint and ends, and the rest stay queued.

    Raises:
        KeyboardInterrupt: a second Ctrl-C; the processes have been killed.
    """
    session.sandboxes.close()  # not needed any more: its verdicts are passed on
    queue = list(waiting)
    threads = max(from_stored(run.config).threads for run in queue)
    warn_of_crowding(session.display, min(parallel, len(queue)), threads)
    with _Crew(session, parent_id, queue, credit) as crew:
        while queue or crew.size:
            word = session.control.training()
            if session.control.stopping(parent_id):
                word = "stop"
                queue.clear()
            crew.tell(word)
            while queue and word == "continue" and crew.size < parallel:
                crew.start(queue.pop(0))
            crew.listen()
    return crew.failures


def warn_of_crowding(display: Display, at_once: int, threads: int) -> None:
    """Warn where parallel trainings need more cores than available."""
    there = cores()
    if threads * at_once > there:
        display.note(
            f"{at_once} trainings at once with threads={threads} want {threads * at_once} CPU "
            f"cores, and there are {there}: they take turns, and are done no sooner than with "
            f"--parallel {max(1, there // threads)}",
            "warning",
        )


class _Crew:
    """The running training processes, and the progress of all trainings."""

    def __init__(
        self,
        session: Session,
        parent_id: int,
        queue: Sequence[Run],
        credit: TrainedCredit | None,
    ) -> None:
        self._credit = credit
        self._store: Store = session.store
        self._display: Display = session.display
        self._processes: list[TrainingProcess] = []
        self._last: dict[int, tuple[Ended, float]] = {}
        """Last message by run, and the deadline for its process to exit."""
        self._bars: dict[int, Bar] = {}
        self._rates: dict[int, float] = {}
        self._planned = [run.id for run in queue]
        trainings = self._store.runs.trainings(parent_id)
        self._steps = {run.id: run.env_steps for run in trainings}
        self._total = self._display.begin(
            f"{len(queue)} trainings",
            sum(run.total_steps for run in trainings),
            done=sum(self._steps.values()),
        )
        self.failures: list[str] = []
        self._said: set[Note] = set()
        """Notes shown so far: several trainings may send the same one."""

    @property
    def size(self) -> int:
        return len(self._processes)

    def start(self, run: Run) -> None:
        try:
            threads = from_stored(run.config).threads
            credit = self._credit if trains_with_credit(run) else None
            self._processes.append(TrainingProcess(self._store, run, threads, credit))
        except OSError as error:
            self._fail(run, f"no process can be started ({error.strerror}): lower `parallel`")

    def tell(self, word: Word) -> None:
        for process in self._processes:
            process.tell(word)

    def listen(self) -> None:
        """Show what the processes report and handle ended ones; returns within WAIT_S."""
        wait(
            [process.fileno() for process in self._processes], WAIT_S
        )  # with nothing begun, as in a pause, it only waits
        for process in list(self._processes):
            gone = process.ended  # before reading: after the exit no message can follow
            for message in process.received():
                self._take(process, message)
            last, until = self._last.get(process.run.id, (None, math.inf))
            if gone or time.monotonic() > until:
                process.close()
                self._processes.remove(process)
                self._end(process, process.death() if last is None else last.error)

    def _take(self, process: TrainingProcess, message: Message) -> None:
        run = process.run
        match message:
            case BarBegan():
                self._bars[run.id] = self._display.begin(
                    message.title, message.total, unit=message.unit, done=message.done
                )
                self._moved(run, message.done, None)
            case BarMoved():
                self._bars[run.id].update(message.done, rate=message.rate, detail=message.detail)
                self._moved(run, message.done, message.rate)
            case BarEnded():
                if run.id in self._bars:  # leaving a bar's block ends it once more
                    self._bars.pop(run.id).finish(message.outcome)
            case Note() if message not in self._said:
                self._said.add(message)
                self._display.note(message.text, message.level)
            case Ended():
                self._last[run.id] = (message, time.monotonic() + LEAVE_S)

    def _moved(self, run: Run, steps: int, rate: float | None) -> None:
        self._steps[run.id] = steps
        if rate is not None:
            self._rates[run.id] = rate
        rates = sum(self._rates.values()) if self._rates else None
        self._total.update(sum(self._steps.values()), rate=rates, detail=f"{self.size} at once")

    def _end(self, process: TrainingProcess, error: str | None) -> None:
        self._rates.pop(process.run.id, None)
        if error is not None:
            self._fail(process.run, error)

    def _fail(self, run: Run, error: str) -> None:
        bar = self._bars.pop(run.id, None)
        if bar is not None:
            bar.__exit__(WorkError, WorkError(error), None)
        # Unless its process has said so itself, or another one works on it.
        if derived_status(self._store.runs.get(run.id)) in ("queued", "died"):
            self._store.runs.finish(run.id, "failed", error=error)
        self.failures.append(failure_line(run, error))
        self._display.note(self.failures[-1], "error")

    def _outcome(self) -> str:
        """Statuses of all trainings, such as ``4 finished, 1 stopped``."""
        ended = Counter(derived_status(self._store.runs.get(run_id)) for run_id in self._planned)
        return ", ".join(f"{number} {status}" for status, number in sorted(ended.items()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave no process behind, whatever the reason for the end."""
        if kind is None:
            self._total.finish(self._outcome())
            return
        for process in self._processes:
            process.leave_alone()
        wait_s = 0.0 if issubclass(kind, KeyboardInterrupt) else LEAVE_S
        until = time.monotonic() + wait_s
        for process in self._processes:
            process.close(max(0.0, until - time.monotonic()))
            with suppress(StoreError):  # most likely what ended the watching
                if derived_status(self._store.runs.get(process.run.id)) == "died":
                    self._store.runs.finish(process.run.id, "stopped", error="interrupted")
        for bar in (*self._bars.values(), self._total):
            bar.break_off(kind)
