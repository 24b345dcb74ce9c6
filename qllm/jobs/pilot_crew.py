"""Pilot trainings in processes of their own: the same results as one after the other.

A process takes one training after the other over a pipe, as JSON, and proves nothing: the job has
had the function judged, and the trainer watches it. It ends with its pipe. One that dies takes only
the training with it that it was at.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from qllm.jobs.job_control import STOP_SIGNALS
from qllm.jobs.messages import Word
from qllm.spawn import python_command

WAIT_S = 0.2
"""Seconds between two looks at what the job is told."""

PilotJob = dict[str, Any]
"""``card``, ``config`` and ``graph`` (null for the plain sum) as JSON, and ``seed``."""
PilotAnswer = dict[str, Any]
"""``status``, ``env_steps``, ``updates`` and ``evaluations`` ([steps, returns]), or ``error``."""


class PilotCrew:
    """Processes that train pilots, until it is closed.

    Args:
        at_once: processes, at most.
        threads: of each.
    """

    def __init__(self, at_once: int, threads: int) -> None:
        self._at_once, self._threads = at_once, threads
        self._jobs: list[PilotJob] = []
        self._queue: list[int] = []
        self._free: list[_Process] = []
        self._working: dict[int, _Process] = {}
        self._answers: dict[int, PilotAnswer] = {}

    def add(self, job: PilotJob) -> int:
        """Take a job, and begin it if a process is free for it.

        Returns:
            Its place among all jobs so far.

        Raises:
            OSError: no process can be started.
        """
        self._jobs.append(job)
        self._queue.append(len(self._jobs) - 1)
        self._fill()
        return len(self._jobs) - 1

    def collect(
        self,
        places: Sequence[int],
        told: Callable[[], Word],
        moved: Callable[[int, int], None],
        noticed: Callable[[str, str], None],
        done: Callable[[int, PilotAnswer], None],
    ) -> bool:
        """Wait until the jobs at these places are done.

        Args:
            places: of jobs, as `add` gave them.
            told: what the job is told at this moment.
            moved: told a job's place and its environment steps so far.
            noticed: told a trainer's notices (what about, and the text).
            done: told a job's place and what came of it, in the order in which they end.

        Returns:
            Whether all were done; else the search was told to stop.

        Raises:
            OSError: no process can be started.
        """
        wanted = set(places)
        while wanted:
            for place in wanted & self._answers.keys():
                wanted.discard(place)
                done(place, self._answers[place])
            word = told()
            if word == "stop":
                return False
            for process in self._working.values():
                process.tell(word)
            if word == "continue":
                self._fill()
            ready = wait([p.connection for p in self._working.values()], WAIT_S if wanted else 0)
            for place, process in list(self._working.items()):
                if process.connection in ready:
                    self._listen(place, process, moved if place in wanted else None, noticed)
        return True

    def _fill(self) -> None:
        while self._queue and len(self._working) < self._at_once:
            process = self._free.pop() if self._free else _Process(self._threads)
            place = self._queue.pop(0)
            process.send(self._jobs[place])
            self._working[place] = process

    def _listen(
        self,
        place: int,
        process: _Process,
        moved: Callable[[int, int], None] | None,
        noticed: Callable[[str, str], None],
    ) -> None:
        for kind, *said in process.received():
            if kind == "moved":
                if moved is not None:
                    moved(place, said[0])
            elif kind == "noticed":
                noticed(*said)
            else:
                self._answers[place] = said[0]
                self._free.append(self._working.pop(place))
        if process.gone and place in self._working:
            self._answers[place] = {"error": process.death()}
            self._working.pop(place)

    def close(self) -> None:
        """End all processes; what they were at is lost."""
        for process in (*self._working.values(), *self._free):
            process.end()
        self._working.clear()
        self._free.clear()
        self._queue.clear()


class _Process:
    def __init__(self, threads: int) -> None:
        self.connection, theirs = Pipe()
        self.gone = False
        self._told: Word = "continue"
        try:
            # The terminal's signals reach the job; the mask is inherited until it is decided.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            try:
                self._process = subprocess.Popen(
                    python_command("qllm.jobs.pilot_crew:work", str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=dict(os.environ) | {"OMP_NUM_THREADS": str(threads)},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def send(self, document: Any) -> None:
        with contextlib.suppress(OSError):  # that it is gone is seen when it is listened to
            self.connection.send_bytes(json.dumps(document).encode())

    def tell(self, word: Word) -> None:
        if word != self._told:
            self._told = word
            self.send(word)

    def received(self) -> list[Any]:
        """What has come; notes where the process is gone."""
        found = []
        try:
            while self.connection.poll():
                found.append(json.loads(self.connection.recv_bytes()))
        except (EOFError, OSError):
            self.gone = True
        return found

    def death(self) -> str:
        """How it ended, in words."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "its process was killed (by a user, or by the kernel for lack of memory)"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"its process {how}"

    def end(self) -> None:
        """Kill it; a pilot leaves nothing behind."""
        self.connection.close()
        self._process.kill()
        self._process.wait()


def work(words: Sequence[str]) -> int:
    """Train what comes through the pipe whose descriptor is the only word, until it ends."""
    descriptor = int(words[0])
    os.set_inheritable(descriptor, False)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        while True:
            job = json.loads(connection.recv_bytes())
            if not isinstance(job, str):  # a word that came after the end of the last training
                _send(connection, "done", _train(job, connection))
    return 0


def _send(connection: Connection, *message: Any) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _train(job: PilotJob, connection: Connection) -> PilotAnswer:
    from marl.errors import SettingsError, TrainingError
    from marl.events import Event, Noticed, Progress
    from marl.settings.train import TrainConfig
    from marl.trainer import Trainer
    from prompts.cards import TaskCard
    from qllm.jobs.credit import watched_credit
    from sandbox.reading import read_graph

    word: Word = "continue"

    def control() -> Word:
        nonlocal word
        while connection.poll():
            word = json.loads(connection.recv_bytes())
        return word

    def hear(event: Event) -> None:
        if isinstance(event, Progress):
            _send(connection, "moved", event.env_steps)
        elif isinstance(event, Noticed):
            _send(connection, "noticed", event.about, event.text)

    function = watch = None
    if job["graph"] is not None:
        function, watch = watched_credit(read_graph(job["graph"]), None)
    try:
        result = Trainer(
            TaskCard.model_validate(job["card"]),
            TrainConfig.model_validate(job["config"]),
            job["seed"],
            credit=function,
            credit_watch=watch,
            emit=hear,
            control=control,
        ).run()
    except (TrainingError, SettingsError) as error:
        return {"error": str(error)}
    return {
        "status": result.status,
        "env_steps": result.env_steps,
        "updates": result.updates,
        "evaluations": [[e.env_steps, list(e.returns)] for e in result.evaluations],
    }
