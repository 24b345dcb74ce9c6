"""Tasks in this very process, one after the other."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass

from qllm.executors.base import Surroundings, refuse_options
from qllm.executors.task import perform


@dataclass
class _Done:
    """A task that has been done."""

    text: str

    def answer(self) -> str:
        return self.text

    def stop(self) -> None:
        """There is nothing left to stop."""


class LocalExecutor:
    """Does each task while it is submitted."""

    at_once = 1

    def __init__(self, surroundings: Surroundings) -> None:
        refuse_options("local", surroundings.options, ())
        self._display = surroundings.display

    def submit(self, task: str) -> _Done:
        text = perform(task, self._display)
        number = json.loads(text)["signal"]
        if number is not None:  # it was meant for the whole
            signal.raise_signal(number)
        return _Done(text)

    def close(self) -> None:
        """Nothing was started."""
