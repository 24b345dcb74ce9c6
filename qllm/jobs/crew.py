"""Pilot trainings outside the search's process: the crew that does them, and its listener."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qllm.jobs.messages import PilotEnded, PilotOrder, Word


@dataclass(frozen=True)
class Listener:
    """Callbacks of a search, for the progress of its pilots."""

    told: Callable[[], Word]
    """Returns the job's current directive."""
    moved: Callable[[int, int], None]
    """Takes a training's place and its environment steps so far."""
    noticed: Callable[[str, str], None]
    """Takes a trainer's notice: subject and text."""
    done: Callable[[int, PilotEnded], None]
    """Takes a training's place and result, in the order in which trainings end."""


class Crew(Protocol):
    """Trains pilots, until it is closed."""

    def add(self, order: PilotOrder) -> int:
        """Take a training, and begin it if there is room.

        Returns:
            Its place among all so far.

        Raises:
            WorkError: no process can be started.
        """

    def collect(self, places: Sequence[int], to: Listener) -> bool:
        """Wait until the trainings at these places, as `add` gave them, are done.

        Returns:
            Whether all were done; else the search was told to stop.

        Raises:
            WorkError: no process can be started.
        """

    def close(self) -> None:
        """End what is at work; it is lost."""
