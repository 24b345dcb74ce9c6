"""Messages between a job and the process of one of its trainings, and the display behind them.

Each holds an end of one pipe. The job sends an `Order`, and after it a word whenever there is
something new; the end of the pipe means that the job is gone. The process answers with what to
show, and at the end with what came of the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal, Self, get_args

from qllm.display import Bar, Display, Level

Word = Literal["continue", "pause", "stop"]


@dataclass(frozen=True)
class Order:
    """The training that a process is to do."""

    run_id: int
    parent_id: int
    home: str
    database: str
    """SQLAlchemy URL of the run store; it may hold a password, so it is no argument."""
    graph_hash: str | None
    """Of the credit function that the job has had judged; None where there is none."""


@dataclass(frozen=True)
class PilotOrder:
    """A pilot training that a process is to do, as JSON."""

    card: dict[str, Any]
    config: dict[str, Any]
    graph: dict[str, Any] | None
    """The gated credit graph, which the job has had judged; None for the plain sum."""
    seed: int


@dataclass(frozen=True)
class PilotEnded:
    """The end of a pilot training."""

    env_steps: int = 0
    updates: int = 0
    evaluations: list[tuple[int, list[float]]] = field(default_factory=list)
    """Environment steps and returns of the episodes."""
    error: str = ""
    """Why it failed; then the rest is empty."""


@dataclass(frozen=True)
class TaskOrder:
    """A task of an executor, as JSON."""

    text: str


@dataclass(frozen=True)
class TaskAnswered:
    """The answer to a task, as JSON."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A trainer's notice: subject and text."""

    about: str
    text: str


@dataclass(frozen=True)
class BarBegan:
    """The training begins, or goes on: a bar is to be shown (see ``Display.begin``)."""

    title: str
    total: int | None
    unit: str
    done: int


@dataclass(frozen=True)
class BarMoved:
    """The bar moves (see ``Bar.update``)."""

    done: int
    rate: float | None
    detail: str | None


@dataclass(frozen=True)
class BarEnded:
    """The bar is to be taken away (see ``Bar.finish``)."""

    outcome: str


@dataclass(frozen=True)
class Note:
    """A message to show (see ``Display.note``)."""

    text: str
    level: Level


@dataclass(frozen=True)
class Ended:
    """The last message: the training has ended and the store has its status. None: no error."""

    error: str | None


Message = BarBegan | BarMoved | BarEnded | Note | Ended | PilotEnded | TaskAnswered | Warned
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Order, PilotOrder, TaskOrder, *get_args(Message))
}


class Channel:
    """One end of the pipe: JSON, a message at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """The end that a process was started with."""
        os.set_inheritable(descriptor, False)  # the job must see us end, whatever we started
        return cls(Connection(descriptor))

    def poll(self) -> bool:
        """Whether there is something to receive, the end of the pipe included."""
        return self._connection.poll()

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._connection.fileno()

    def send(self, message: Order | PilotOrder | TaskOrder | Message | Word) -> None:
        """Send a message. A closed other end is ignored here and noticed elsewhere."""
        kind = type(message).__name__
        document = message if isinstance(message, str) else [kind, asdict(message)]
        with contextlib.suppress(OSError):
            self._connection.send_bytes(json.dumps(document).encode())

    def receive(self) -> Any:
        """Wait for the next message.

        Raises:
            EOFError, OSError: the other end is gone.
        """
        document = json.loads(self._connection.recv_bytes())
        return document if isinstance(document, str) else _KINDS[document[0]](**document[1])

    def received(self) -> Iterator[Any]:
        """The messages received so far; does not wait."""
        with contextlib.suppress(EOFError, OSError):
            while self.poll():
                yield self.receive()

    def close(self) -> None:
        """Let the other end see that this one is gone."""
        self._connection.close()


class RemoteBar(Bar):
    """The bar of a training whose job has the screen."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        self._channel.send(BarMoved(done, rate, detail))

    def finish(self, outcome: str = "") -> None:
        self._channel.send(BarEnded(outcome))


class RemoteDisplay(Display):
    """The display of a training whose job has the screen; a training shows one bar, and notes."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(sys.stdout)
        self._channel = channel

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> RemoteBar:
        self._channel.send(BarBegan(title, total, unit, done))
        return RemoteBar(self._channel)

    def note(self, text: str, level: Level = "info") -> None:
        self._channel.send(Note(text, level))
