"""What runs in a worker process: a slice of the batch's environments, stepped on command.

The parent sends one line at a time and gets one answer to each: ``+`` and JSON, ``-`` and an error
in words, or ``!`` and why the factory is of no use, which is not the worker's failure. Nothing but
text and, once, a descriptor crosses the connection. A worker ends when its parent does: the kernel
kills it (Linux's parent-death signal), and where that signal cannot be asked for, the closed
connection ends it as soon as it looks for its next command.

This module and what it imports load no torch, so that a worker starts fast and stays small.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

from numpy.typing import NDArray

from marl.envs.workers.memory import Layout
from marl.envs.workers.metrics import EpisodeMetrics
from marl.envs.workers.spaces import UnfitError

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Job:
    """One worker's share.

    Attributes:
        maker: import path of a function of ours; called with ``argument``, it returns what makes
            an instance.
        argument: for the maker.
        first, last: its instances are first to last - 1 of the batch.
        parent: process id.
        die_with_parent: ask the kernel to. Only sound where the parent's main thread starts the
            worker, since the signal comes when the thread that started it ends.
    """

    maker: str
    argument: str
    first: int
    last: int
    parent: int
    die_with_parent: bool


def main() -> None:
    """Serve the connection whose descriptor, and the job that, the arguments name."""
    serve(Connection(int(sys.argv[1])), Job(**json.loads(sys.argv[2])))


def serve(connection: Connection, job: Job) -> None:
    """Answer commands until told to close or the parent is gone."""
    # What a terminal or a scheduler sends to all processes reaches the parent, which tells us.
    for number in ("INT", "TERM", "HUP", "USR1", "USR2", "XCPU"):
        signal.signal(signal.Signals[f"SIG{number}"], signal.SIG_IGN)
    if job.die_with_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != job.parent:  # it died before the signal was asked for
        return
    worker, command = _Worker(connection, job), ""
    while command != "close":
        try:
            command, _, text = connection.recv_bytes().decode().partition(" ")
        except (EOFError, OSError):
            return
        answer = worker.answer(command, text)
        try:
            connection.send_bytes(answer.encode())
        except OSError:
            return


class Played(Protocol):
    """An instance: an environment and the rows of the batch that show it."""

    metrics: EpisodeMetrics
    facts: Any
    """What it turned out to be: a dataclass of plain data, the same for all instances."""

    def show_in(self, rows: Mapping[str, NDArray[Any]], **shown: Any) -> None:
        """Where to show from now on what can be seen: this instance's row of each array."""

    def reset(self) -> None:
        """Begin the episode of the seed in the row."""

    def step(self) -> None:
        """Play the actions in the row."""

    def close(self) -> None:
        """Let the environment release what it holds."""


class _Worker:
    def __init__(self, connection: Connection, job: Job) -> None:
        self._connection, self._job = connection, job
        self._instances: list[Played] = []
        self._at: int | None = None  # the instance that is being worked on

    def answer(self, command: str, text: str) -> str:
        self._at = None
        try:
            match command:
                case "build":
                    return "+" + self._build()
                case "attach":
                    self._attach(**json.loads(text))
                case "reset":
                    for instance in self._active():
                        instance.reset()
                case "step":
                    for instance in self._active():
                        instance.step()
                case "told":
                    return "+" + self._told()
                case "close":
                    for instance in self._instances:
                        instance.close()
        except UnfitError as error:
            return f"!{error}"
        except Exception as error:  # noqa: BLE001 - whatever a user's code may raise
            return "-" + _in_words(error, self._at)
        return "+"

    def _build(self) -> str:
        module, _, name = self._job.maker.partition(":")
        make = getattr(importlib.import_module(module), name)(self._job.argument)
        for row in range(self._job.first, self._job.last):
            self._at = row
            self._instances.append(make())
        facts = {json.dumps(asdict(instance.facts)) for instance in self._instances}
        if len(facts) > 1:
            raise UnfitError("the factory makes environments that differ in their sizes")
        return facts.pop()

    def _told(self) -> str:
        metrics = [instance.metrics for instance in self._instances]
        ever = [any(one) for one in zip(*(m.ever for m in metrics), strict=True)]
        return json.dumps({"ever": ever, "names": sorted(set().union(*(m.names for m in metrics)))})

    def _attach(self, fields: dict[str, Any], **shown: Any) -> None:
        with socket.socket(fileno=os.dup(self._connection.fileno())) as channel:
            _, (handle,), _, _ = socket.recv_fds(channel, 1, 1)
        arrays = Layout(fields).arrays(handle)
        os.close(handle)
        self._mask, self._busy = arrays["active"], arrays["busy_s"]
        for row, instance in enumerate(self._instances, self._job.first):
            # With the dots a row of one number is an array that can be written to, too.
            rows = {name: array[row, ...] for name, array in arrays.items()}
            instance.show_in(rows, **shown)

    def _active(self) -> Iterator[Played]:
        for row, instance in enumerate(self._instances, self._job.first):
            if self._mask[row]:
                self._at, begun = row, time.process_time()
                yield instance
                self._busy[row] += time.process_time() - begun


def _in_words(error: Exception, instance: int | None) -> str:
    """What was raised, in which instance and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}, in {frames[-1].name}" if frames else "?"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_ERROR]
    return f"{'' if instance is None else f'instance {instance}: '}{what} ({where})"
