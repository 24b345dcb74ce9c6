"""The parent's side of the workers: start, command, time out, stop. Never waits without end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from marl.envs.workers.memory import Layout
from marl.envs.workers.serve import Job

_GRACE_S = 2.0  # for closing environments before a worker is killed

# A fresh interpreter. A fork would copy the locks of torch's threads, and multiprocessing's spawn
# would import the parent's main module, torch and all, in every worker.
_MAIN = "from marl.envs.workers.serve import main; main()"
_WITH_OUR_PATH = f"import json, sys; sys.path[:] = json.loads(sys.argv.pop()); {_MAIN}"
_WITH_ITS_OWN = f"import json, sys; sys.path.extend(json.loads(sys.argv.pop())); {_MAIN}"
_ROOT = str(Path(__file__).resolve().parents[3])
_STDERR = 2  # what an environment prints must not mix with results on the standard output
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_LAST_WORDS = 300


class WorkerError(Exception):
    """A worker failed, died or did not answer; all have been stopped. One line."""


class _FailedError(Exception):
    """One worker failed; the others may go on."""

    def __init__(self, worker: int, why: str) -> None:
        super().__init__(why)
        self.worker, self.why = worker, why


@dataclass(frozen=True)
class Program:
    """What the workers of a pool run.

    Attributes:
        maker: import path of a function of ours that is called with ``argument`` in the worker and
            returns what makes an instance, such as `marl.envs.workers.instance.instances_of`.
        argument: for the maker.
        python: the interpreter; None for our own, with our search path. Another one has its own
            packages, and ours behind them.
        environment: more variables of the processes' environment.
        keep_words: what a worker prints is kept for the message of its death, and not shown.
    """

    maker: str
    argument: str
    python: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    keep_words: bool = False


class WorkerPool:
    """Processes that hold the instances of a batch between them, in slices of equal size.

    Args:
        program: what they run.
        rows: number of instances.
        workers: number of processes, at most ``rows`` of which are started.
        timeout_s: seconds a worker may take to answer a command; to make its environments, so
            many for each of them.

    Raises:
        WorkerError: a worker could not be started.
    """

    def __init__(self, program: Program, rows: int, workers: int, timeout_s: float) -> None:
        self._program, self._timeout_s = program, timeout_s
        count = min(workers, rows)
        self.slices = list(itertools.pairwise(rows * at // count for at in range(count + 1)))
        """Of each worker, its first instance and the one after its last."""
        self._most = max(last - first for first, last in self.slices)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connections: list[Connection] = []
        self._words: list[IO[bytes] | None] = []
        self._block: tuple[str, IO[bytes]] | None = None
        self._stop = weakref.finalize(self, _stop, self._processes, self._connections)
        self._poll = select.poll()
        self._asking = False
        for at in range(count):
            self._start(at)

    def _start(self, at: int) -> None:
        """Start a worker, at the end of the list or in the place of one that was stopped."""
        program, (first, last) = self._program, self.slices[at]
        main = threading.current_thread() is threading.main_thread()
        job = Job(program.maker, program.argument, first, last, os.getpid(), die_with_parent=main)
        ours = [os.path.abspath(folder) for folder in sys.path]
        start, path = (_WITH_ITS_OWN, [_ROOT]) if program.python else (_WITH_OUR_PATH, ours)
        python = [program.python, "-I"] if program.python else [sys.executable]
        words = tempfile.TemporaryFile() if program.keep_words else None  # noqa: SIM115
        here, there = socket.socketpair()
        with there:
            descriptor = there.fileno()
            arguments = [str(descriptor), json.dumps(asdict(job)), json.dumps(path)]
            try:
                process = subprocess.Popen(
                    [*python, "-c", start, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=_STDERR if words is None else words,
                    stderr=words,
                    pass_fds=[descriptor],
                    env=_ONE_THREAD | dict(os.environ) | dict(program.environment),
                )
            except OSError as error:
                raise WorkerError(f"no environment worker can be started: {error}") from None
        self._connections[at:] = [Connection(here.detach()), *self._connections[at + 1 :]]
        self._processes[at:] = [process, *self._processes[at + 1 :]]
        self._words[at:] = [words, *self._words[at + 1 :]]
        self._poll.register(self._connections[at].fileno(), select.POLLIN)

    def build(self) -> dict[str, Any]:
        """Have every worker make its environments.

        Returns:
            What they turned out to be, the same for all: their ``facts``.

        Raises:
            WorkerError: one cannot be made, or they differ.
        """
        answers = set(self.ask("build"))
        if len(answers) > 1:
            raise WorkerError("the factory makes environments that differ in their sizes")
        found: dict[str, Any] = json.loads(answers.pop())
        return found

    def attach(self, layout: Layout, handle: int, **shown: Any) -> None:
        """Give every worker the block of memory that shows what happens.

        Args:
            layout, handle: of the block; the descriptor stays the caller's.
            shown: what ``show_in`` of the instances takes besides their rows.

        Raises:
            WorkerError: a worker failed.
        """
        command = f"attach {json.dumps({'fields': dict(layout.fields), **shown})}"
        self.ask(command, handle)
        self._block = command, os.fdopen(os.dup(handle), "rb")

    def told(self) -> tuple[list[bool], list[str]]:
        """Which metrics any info has told so far, and the names that infos have had.

        Raises:
            WorkerError: a worker failed.
        """
        answers = [json.loads(answer) for answer in self.ask("told")]
        ever = [any(one) for one in zip(*(answer["ever"] for answer in answers), strict=True)]
        return ever, sorted({name for answer in answers for name in answer["names"]})

    def ask(self, command: str, handle: int | None = None) -> list[str]:
        """Send a command to every worker and wait for all answers.

        Raises:
            WorkerError: a worker reported an error, died, or did not answer in time. All workers
                are stopped, and the pool is of no further use.
        """
        answers, _ = self._ask(command, range(len(self.slices)), handle, forgiving=False)
        return [answers[at] for at in range(len(self.slices))]

    def attempt(self, command: str, workers: Collection[int]) -> dict[int, str]:
        """Send a command to some workers; those that fail are stopped, and the others stay.

        Returns:
            Of each worker that failed, why; it is to be replaced before anything else is asked.

        Raises:
            WorkerError: what the workers hold is of no use, or the pool was stopped before.
        """
        _, failed = self._ask(command, workers, None, forgiving=True)
        return failed

    def replace(self, at: int) -> str | None:
        """Stop a worker and start another in its place, with new instances.

        Returns:
            Why the new one failed, if it did.

        Raises:
            WorkerError: as `attempt`, or no process can be started.
        """
        if not self._connections[at].closed:  # as it is where the worker died
            self._poll.unregister(self._connections[at].fileno())
        _stop(self._processes[at : at + 1], self._connections[at : at + 1])
        try:
            self._start(at)
        except WorkerError:
            self.close()
            raise
        _, failed = self._ask("build", [at], None, forgiving=True)
        if not failed and self._block is not None:
            command, block = self._block
            _, failed = self._ask(command, [at], block.fileno(), forgiving=True)
        return failed.get(at)

    def _ask(
        self, command: str, workers: Collection[int], handle: int | None, *, forgiving: bool
    ) -> tuple[dict[int, str], dict[int, str]]:
        """The answers by worker, and why others failed."""
        doing = command.partition(" ")[0]
        if self._asking or not self._stop.alive:
            self.close()
            raise WorkerError("the environment's workers were stopped")
        self._asking = True  # stays so if we are interrupted: answers would then be out of step
        waiting, failed = set(workers), dict[int, str]()
        answers: dict[int, str] = {}
        try:
            for at in workers:
                try:
                    self._send(at, command, handle)
                except _FailedError as failure:
                    self._give_up(failure, waiting, failed, forgiving=forgiving)
            timeout_s = self._timeout_s * (self._most if doing == "build" else 1)
            deadline = time.monotonic() + timeout_s
            while waiting:
                try:
                    for at in self._ready(waiting, doing, deadline, timeout_s):
                        waiting.discard(at)
                        answers[at] = self._answer(at, doing)
                except _FailedError as failure:
                    self._give_up(failure, waiting, failed, forgiving=forgiving)
        except WorkerError:
            self.close()
            raise
        self._asking = False
        return answers, failed

    def _give_up(
        self, failure: _FailedError, waiting: set[int], failed: dict[int, str], *, forgiving: bool
    ) -> None:
        if not forgiving:
            raise WorkerError(failure.why)
        at = failure.worker
        waiting.discard(at)
        failed[at] = failure.why
        self._poll.unregister(self._connections[at].fileno())
        _stop(self._processes[at : at + 1], self._connections[at : at + 1])

    def _send(self, at: int, command: str, handle: int | None) -> None:
        try:
            self._connections[at].send_bytes(command.encode())
            if handle is not None:
                with socket.socket(fileno=os.dup(self._connections[at].fileno())) as channel:
                    socket.send_fds(channel, [b"."], [handle])
        except OSError:
            raise _FailedError(at, self._death(at, command.partition(" ")[0])) from None

    def _ready(
        self, waiting: Collection[int], doing: str, deadline: float, timeout_s: float
    ) -> list[int]:
        """Workers that have something to say: an answer, or by ending that there is none."""
        ready = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            late = min(waiting)
            raise _FailedError(
                late,
                f"{self._name(late)} did not answer `{doing}` within {timeout_s:g} s and was "
                "stopped: if the environment is that slow, raise env.worker_timeout_s",
            )
        places = {c.fileno(): at for at, c in enumerate(self._connections) if not c.closed}
        found = [places[descriptor] for descriptor, _ in ready]
        for at in found:
            if at not in waiting:  # it had answered, or was not asked: only its end can be news
                raise _FailedError(at, self._death(at, doing))
        return found

    def _answer(self, at: int, doing: str) -> str:
        try:
            text = self._connections[at].recv_bytes().decode()
        except (EOFError, OSError):
            raise _FailedError(at, self._death(at, doing)) from None
        if text.startswith("!"):
            raise WorkerError(text[1:])
        if text.startswith("-"):
            raise _FailedError(at, f"{self._name(at)} failed in `{doing}`: {text[1:]}")
        return text[1:]

    def _name(self, at: int) -> str:
        first, last = self.slices[at]
        held = f"instance {first}" if last - first == 1 else f"instances {first} to {last - 1}"
        return f"environment worker {at + 1} of {len(self.slices)} ({held})"

    def _death(self, at: int, doing: str) -> str:
        try:
            code = self._processes[at].wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return f"{self._name(at)} closed its connection in `{doing}`{self._last_words(at)}"
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        return f"{self._name(at)} died in `{doing}` ({how}){self._last_words(at)}"

    def _last_words(self, at: int) -> str:
        """What a worker printed last, in one line, as the end of a message."""
        file = self._words[at]
        if file is None:
            return ""
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
        said = " ".join(file.read().decode(errors="replace").split())
        return f"; its last words: {said}" if said else ""

    def close(self) -> None:
        """Stop all workers: those that are idle close their environments first."""
        if not self._asking and self._stop.alive:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.send_bytes(b"close")
        if self._stop.detach() is not None:
            _stop(self._processes, self._connections, 0.0 if self._asking else _GRACE_S)


def _stop(
    processes: Sequence[subprocess.Popen[bytes]],
    connections: Sequence[Connection],
    grace_s: float = 0.0,
) -> None:
    deadline = time.monotonic() + grace_s
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    for connection in connections:
        connection.close()
