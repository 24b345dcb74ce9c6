"""Tasks in processes of this machine, several at a time; a process ends with its task."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress

from qllm.display import Bar
from qllm.errors import UsageError
from qllm.executors.base import DiedError, Surroundings, refuse_options
from qllm.jobs.child_process import ChildProcess
from qllm.jobs.messages import (
    BarBegan,
    BarEnded,
    BarMoved,
    Channel,
    Ended,
    Note,
    RemoteDisplay,
    TaskAnswered,
    TaskOrder,
)
from qllm.signals import STOP_SIGNALS

LEAVE_S = 30.0
"""Time in seconds for a process to save its training when stopped."""


class _ProcessTask:
    """A task, and the process that does it."""

    def __init__(self, task: str, surroundings: Surroundings, number: int) -> None:
        self._display = surroundings.display
        self._bar: Bar | None = None
        self._answer: str | None = None
        self._error: str | None = None
        log = surroundings.folder / f"process-{number}.log"
        self.process = ChildProcess(
            "qllm.executors.processes:work", "piece", log, surroundings.threads
        )
        self.process.channel.send(TaskOrder(task))

    def answer(self) -> str | None:
        """The answer, once the process has sent it and ended."""
        gone = self.process.ended  # before reading: after the exit no message can follow
        for message in self.process.received():
            match message:
                case BarBegan():
                    self._bar = self._display.begin(
                        message.title, message.total, unit=message.unit, done=message.done
                    )
                case BarMoved() if self._bar is not None:
                    self._bar.update(message.done, rate=message.rate, detail=message.detail)
                case BarEnded() if self._bar is not None:
                    self._bar.finish(message.outcome)
                case Note():
                    self._display.note(message.text, message.level)
                case TaskAnswered():
                    self._answer = message.text
                case Ended():
                    self._error = message.error
        if not gone:
            return None
        self.process.close()
        if self._error is not None:
            raise UsageError(self._error)
        if self._answer is None:
            if self._bar is not None:
                self._bar.break_off(DiedError)
            raise DiedError(self.process.death())
        return self._answer

    def stop(self) -> None:
        self.process.tell("stop")


class ProcessesExecutor:
    """A process for each task."""

    def __init__(self, surroundings: Surroundings) -> None:
        refuse_options("processes", surroundings.options, ())
        self.at_once = surroundings.at_once
        self._surroundings = surroundings
        self._tasks: list[_ProcessTask] = []

    def submit(self, task: str) -> _ProcessTask:
        """Start the process of a task.

        Raises:
            DiedError: it cannot be started.
        """
        try:
            begun = _ProcessTask(task, self._surroundings, len(self._tasks))
        except OSError as error:
            raise DiedError(f"no process can be started ({error.strerror})") from None
        self._tasks.append(begun)
        return begun

    def close(self) -> None:
        for task in self._tasks:
            task.process.leave_alone()
        for task in self._tasks:
            task.process.close(LEAVE_S)


def work(words: Sequence[str]) -> int:
    """Do the task that comes through the pipe.

    Args:
        words: a title for people, and the descriptor of the pipe.
    """
    from qllm.executors.task import perform
    from qllm.store.errors import StoreError

    channel = Channel.inherited(int(words[1]))
    for number in (signal.SIGINT, signal.SIGHUP):  # from the terminal: they reach the job
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    order = channel.receive()
    threading.Thread(target=_listen, args=(channel,), daemon=True).start()
    try:
        channel.send(TaskAnswered(perform(order.text, RemoteDisplay(channel))))
    except (UsageError, StoreError) as error:
        channel.send(Ended(str(error)))
        return 1
    return 0


def _listen(channel: Channel) -> None:
    """Stop where the job says so, or is gone."""
    with suppress(EOFError, OSError):
        while channel.receive() != "stop":
            pass
    os.kill(os.getpid(), signal.SIGTERM)
