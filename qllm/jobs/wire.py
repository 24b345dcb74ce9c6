"""What a training's process and the job that started it say to each other: lines of text.

The job writes an `Order`, and after it a word whenever there is something new: ``continue``,
``pause`` or ``stop``. The end of its pipe means that the job is gone. The process answers with
messages in JSON: what to show, and at the end what came of the training.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, Self

from qllm.display import Level
from qllm.display.none import NoBar, NoDisplay

Word = Literal["continue", "pause", "stop"]


@dataclass(frozen=True)
class Order:
    """Which training a process is to do."""

    run_id: int
    parent_id: int
    home: str
    database: str
    """SQLAlchemy URL of the run store; it may hold a password, so it is no argument."""
    graph_hash: str | None
    """Of the credit function that the job has had judged; None where there is none."""

    def line(self) -> str:
        """As it is written to the process."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """As the process reads it."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Began:
    """The training begins, or goes on: a bar is to be shown (see ``Display.begin``)."""

    title: str
    total: int | None
    unit: str
    done: int


@dataclass(frozen=True)
class Moved:
    """The bar moves (see ``Bar.update``)."""

    done: int
    rate: float | None
    detail: str | None


@dataclass(frozen=True)
class Left:
    """The bar is to be taken away (see ``Bar.finish``)."""

    outcome: str


@dataclass(frozen=True)
class Noted:
    """Something to say (see ``Display.note``)."""

    text: str
    level: Level


@dataclass(frozen=True)
class Ended:
    """The last message: the training is over, and the store knows. None: as it should be."""

    error: str | None


Message = Began | Moved | Left | Noted | Ended
_KINDS: dict[str, type[Message]] = {k.__name__: k for k in (Began, Moved, Left, Noted, Ended)}


def write_message(message: Message) -> str:
    """A message as a line."""
    return json.dumps([type(message).__name__, asdict(message)]) + "\n"


def read_message(line: str) -> Message:
    """A message from its line."""
    kind, fields = json.loads(line)
    return _KINDS[kind](**fields)


class Voice:
    """The process's end of the messages, a pipe. Talking to a job that is gone does no harm."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def say(self, message: Message) -> None:
        """Write a message through."""
        rest = write_message(message).encode()
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


class WireBar(NoBar):
    """The bar of a training whose job has the screen."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        self._say = say

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Tell how far the training is."""
        self._say(Moved(done, rate, detail))

    def finish(self, outcome: str = "") -> None:
        """Tell what the training came to."""
        self._say(Left(outcome))


class WireDisplay(NoDisplay):
    """The display of a training whose job has the screen; a training shows one bar, and notes."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(sys.stdout)
        self._voice = voice

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> WireBar:
        """A bar on the job's screen."""
        self._voice.say(Began(title, total, unit, done))
        return WireBar(self._voice.say)

    def note(self, text: str, level: Level = "info") -> None:
        """A line on the job's screen."""
        self._voice.say(Noted(text, level))
