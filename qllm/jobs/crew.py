"""Whoever trains a search's pilots outside of its process, and whom it tells how they go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qllm.jobs.messages import PilotEnded, PilotOrder, Word


@dataclass(frozen=True)
class Listener:
    """What a search wants to know while its pilots train."""

    told: Callable[[], Word]
    """What the job is told at this moment."""
    moved: Callable[[int, int], None]
    """Told a training's place and its environment steps so far."""
    noticed: Callable[[str, str], None]
    """Told a trainer's notices (what about, and the text)."""
    done: Callable[[int, PilotEnded], None]
    """Told a training's place and what came of it, in the order in which they end."""


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
