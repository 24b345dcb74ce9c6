"""Pilot trainings outside the search's process: the crew that does them, and its listener."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qllm.jobs.messages import PilotEnded, PilotOrder, Word

WAIT_S = 0.2
"""Seconds between two polls of the job's directive and of ended trainings."""


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


class Crew(ABC):
    """Trains pilots, until it is closed."""

    def __init__(self) -> None:
        self._ended: dict[int, PilotEnded] = {}
        """Results by place."""

    @abstractmethod
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
        wanted = set(places)
        while True:
            for place in wanted & self._ended.keys():
                ended = self._ended[place]
                wanted.discard(place)
                to.moved(place, ended.env_steps)
                to.done(place, ended)
            if not wanted:
                return True
            word = to.told()
            if word == "stop":
                return False
            self._listen(word, wanted, to)

    @abstractmethod
    def _listen(self, word: Word, wanted: set[int], to: Listener) -> None:
        """Pass the job's directive on and put what has ended into ``_ended``, within WAIT_S."""

    @abstractmethod
    def close(self) -> None:
        """End the trainings at work; their results are lost."""
