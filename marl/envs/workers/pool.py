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
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection

from marl.envs.workers.instance import Facts, StateSource
from marl.envs.workers.memory import Layout
from marl.envs.workers.metrics import MetricRule
from marl.envs.workers.serve import Job

_GRACE_S = 2.0  # for closing environments before a worker is killed

# A fresh interpreter with our search path. A fork would copy the locks of torch's threads, and
# multiprocessing's spawn would import the parent's main module, torch and all, in every worker.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from marl.envs.workers.serve import main; main()"
)
_STDERR = 2  # what an environment prints must not mix with results on the standard output
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerError(Exception):
    """A worker failed, died or did not answer; all have been stopped. One line."""


class WorkerPool:
    """Processes that hold the instances of a batch between them, in slices of equal size.

    Args:
        factory: import path of what makes an environment.
        rows: number of instances.
        workers: number of processes, at most ``rows`` of which are started.
        timeout_s: seconds a worker may take to answer a command, starting included.

    Raises:
        WorkerError: a worker could not be started.
    """

    def __init__(self, factory: str, rows: int, workers: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        count = min(workers, rows)
        self._slices = list(itertools.pairwise(rows * at // count for at in range(count + 1)))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._connections: list[Connection] = []
        self._stop = weakref.finalize(self, _stop, self._processes, self._connections)
        self._poll = select.poll()
        self._asking = False
        for first, last in self._slices:
            try:
                self._start(factory, first, last)
            except OSError as error:
                raise WorkerError(f"no environment worker can be started: {error}") from None

    def _start(self, factory: str, first: int, last: int) -> None:
        main = threading.current_thread() is threading.main_thread()
        job = Job(factory, first, last, os.getpid(), die_with_parent=main)
        path = json.dumps([os.path.abspath(folder) for folder in sys.path])
        here, there = socket.socketpair()
        with there:
            descriptor = there.fileno()
            arguments = [str(descriptor), json.dumps(asdict(job)), path]
            self._connections.append(Connection(here.detach()))
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", _START, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=_STDERR,
                    pass_fds=[descriptor],
                    env=_ONE_THREAD | dict(os.environ),
                )
            )
        self._poll.register(self._connections[-1].fileno(), select.POLLIN)

    def build(self) -> Facts:
        """Have every worker make its environments.

        Returns:
            What they turned out to be, the same for all.

        Raises:
            WorkerError: one cannot be made, or they differ.
        """
        answers = {self._facts(answer) for answer in self.ask("build")}
        if len(answers) > 1:
            raise WorkerError("the factory makes environments that differ in their sizes")
        return answers.pop()

    @staticmethod
    def _facts(answer: str) -> Facts:
        found = json.loads(answer)
        lists = {
            key: tuple(found[key]) for key in ("agents", "n_actions", "obs_sizes", "plain_sizes")
        }
        return Facts(**lists, own_state=found["own_state"])

    def attach(
        self,
        layout: Layout,
        handle: int,
        *,
        state: StateSource,
        mean: bool,
        metrics: Sequence[MetricRule] = (),
    ) -> None:
        """Give every worker the block of memory that shows what happens (see `Instance.show_in`).

        Raises:
            WorkerError: a worker failed.
        """
        shown = {"state": state, "mean": mean, "metrics": list(metrics)}
        self.ask(f"attach {json.dumps({'fields': dict(layout.fields), **shown})}", handle)

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
        doing = command.partition(" ")[0]
        if self._asking or not self._stop.alive:
            self.close()
            raise WorkerError("the environment's workers were stopped")
        self._asking = True  # stays so if we are interrupted: answers would then be out of step
        try:
            for at, connection in enumerate(self._connections):
                self._send(at, connection, command, handle)
            answers = self._answers(doing)
        except WorkerError:
            self.close()
            raise
        self._asking = False
        return answers

    def _send(self, at: int, connection: Connection, command: str, handle: int | None) -> None:
        try:
            connection.send_bytes(command.encode())
            if handle is not None:
                with socket.socket(fileno=os.dup(connection.fileno())) as channel:
                    socket.send_fds(channel, [b"."], [handle])
        except OSError:
            raise WorkerError(self._death(at, command.partition(" ")[0])) from None

    def _answers(self, doing: str) -> list[str]:
        deadline = time.monotonic() + self._timeout_s
        waiting = {connection.fileno(): at for at, connection in enumerate(self._connections)}
        answers = [""] * len(waiting)
        while waiting:
            ready = self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                late = min(waiting.values())
                raise WorkerError(
                    f"{self._name(late)} did not answer `{doing}` within {self._timeout_s:g} s "
                    "and was stopped: if the environment is that slow, raise env.worker_timeout_s"
                )
            for descriptor, _ in ready:
                at = waiting.pop(descriptor, None)
                if at is None:  # it had answered: only its end can be news
                    at = [c.fileno() for c in self._connections].index(descriptor)
                    raise WorkerError(self._death(at, doing))
                answers[at] = self._answer(at, doing)
        return answers

    def _answer(self, at: int, doing: str) -> str:
        try:
            text = self._connections[at].recv_bytes().decode()
        except (EOFError, OSError):
            raise WorkerError(self._death(at, doing)) from None
        if text.startswith("!"):
            raise WorkerError(text[1:])
        if text.startswith("-"):
            raise WorkerError(f"{self._name(at)} failed in `{doing}`: {text[1:]}")
        return text[1:]

    def _name(self, at: int) -> str:
        first, last = self._slices[at]
        held = f"instance {first}" if last - first == 1 else f"instances {first} to {last - 1}"
        return f"environment worker {at + 1} of {len(self._slices)} ({held})"

    def _death(self, at: int, doing: str) -> str:
        try:
            code = self._processes[at].wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return f"{self._name(at)} closed its connection in `{doing}`"
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        return f"{self._name(at)} died in `{doing}` ({how})"

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
