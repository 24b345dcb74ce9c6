"""Pilot trainings in processes of their own: the same results as one after the other.

A process takes one training after the other over its pipe, and proves nothing: the job has had the
function judged, and the trainer watches it. It ends with the pipe. One that dies takes only the
training with it that it was at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from qllm.errors import WorkError
from qllm.jobs.child_process import ChildProcess, ignore_the_terminal
from qllm.jobs.crew import WAIT_S, Crew, Listener
from qllm.jobs.messages import BarMoved, Channel, PilotEnded, PilotOrder, Warned, Word


class PilotCrew(Crew):
    """Processes that train pilots.

    Args:
        folder: where each keeps a log of what it prints.
    """

    def __init__(self, at_once: int, threads: int, folder: Path) -> None:
        super().__init__()
        self._at_once, self._threads, self._folder = at_once, threads, folder
        self._orders: list[PilotOrder] = []
        self._queue: list[int] = []
        self._started = 0
        self._free: list[ChildProcess] = []
        self._working: dict[int, ChildProcess] = {}

    def add(self, order: PilotOrder) -> int:
        self._orders.append(order)
        self._queue.append(len(self._orders) - 1)
        self._fill()
        return len(self._orders) - 1

    def _listen(self, word: Word, wanted: set[int], to: Listener) -> None:
        for process in self._working.values():
            process.tell(word)
        if word == "continue":
            self._fill()
        wait([process.fileno() for process in self._working.values()], WAIT_S)
        for place, process in list(self._working.items()):
            self._receive(place, process, to, wanted=place in wanted)

    def _fill(self) -> None:
        while self._queue and len(self._working) < self._at_once:
            process = self._free.pop() if self._free else self._start()
            place = self._queue.pop(0)
            process.channel.send(self._orders[place])
            self._working[place] = process

    def _start(self) -> ChildProcess:
        log = self._folder / f"pilots-{self._started}.log"
        try:
            process = ChildProcess("qllm.jobs.pilot_crew:work", "pilots", log, self._threads)
        except OSError as error:
            raise WorkError(
                f"no process can be started for a pilot ({error.strerror}): lower `parallel`"
            ) from None
        self._started += 1
        return process

    def _receive(self, place: int, process: ChildProcess, to: Listener, *, wanted: bool) -> None:
        gone = process.ended  # before reading: after the exit no message can follow
        for message in process.received():
            if isinstance(message, BarMoved) and wanted:
                to.moved(place, message.done)
            elif isinstance(message, Warned):
                to.noticed(message.about, message.text)
            elif isinstance(message, PilotEnded):
                self._ended[place] = message
                self._free.append(self._working.pop(place))
        if gone and place in self._working:
            self._ended[place] = PilotEnded(error=process.death())
            self._working.pop(place).close()

    def close(self) -> None:
        for process in (*self._working.values(), *self._free):
            process.close()
        self._working.clear()
        self._free.clear()
        self._queue.clear()


def work(words: Sequence[str]) -> int:
    """Train what comes through the pipe, until it ends.

    Args:
        words: a title for people, and the descriptor of the pipe.
    """
    channel = Channel.inherited(int(words[1]))
    ignore_the_terminal()
    with contextlib.suppress(EOFError, OSError):
        while True:
            order = channel.receive()
            if isinstance(order, PilotOrder):  # else a word that came after the last one's end
                channel.send(_train(order, channel))
    return 0


def _train(order: PilotOrder, channel: Channel) -> PilotEnded:
    """Raises EOFError where the job is gone."""
    from marl.events import Event, Noticed, Progress
    from qllm.jobs.pilot_training import train_pilot

    word: Word = "continue"

    def control() -> Word:
        nonlocal word
        while channel.poll():
            word = channel.receive()
        return word

    def hear(event: Event) -> None:
        if isinstance(event, Progress):
            channel.send(BarMoved(event.env_steps, None, None))
        elif isinstance(event, Noticed):
            channel.send(Warned(event.about, event.text))

    return train_pilot(order, None, hear, control) or PilotEnded(error="it was stopped")
