"""The tracker protocol, and the training that a tracker is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from qllm.trackers.config import TrackingConfig
from qllm.trackers.points import Point

Status = Literal["finished", "stopped", "failed"]


class TrackerError(RuntimeError):
    """A tracker cannot go on; the message gives the reason in one line."""


def reason(error: BaseException) -> str:
    """What went wrong, in one line of at most 300 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 300 else said[:297] + "..."


@dataclass(frozen=True)
class TrackedRun:
    """One training, at the beginning of an attempt."""

    id: int
    """Its id in the run store."""
    uid: str
    """Random and the same in every attempt: no other training has it."""
    name: str
    """Its number as people type it: ``7.2``."""
    group: str
    """The same for all trainings of one run, and for no others."""
    task: str
    algo: str
    seed: int
    began: float
    """Start of the first attempt, in seconds since the epoch."""
    attempt: int
    """1 for the first."""
    config: Mapping[str, Any]
    """The settings of the training, as JSON."""
    versions: Mapping[str, str]
    home: Path
    """Folder of all runs."""
    folder: Path
    """The training's own."""
    settings: TrackingConfig
    points: Sequence[Point]
    """What was recorded so far and still counts, in the order of its steps: everything up to the
    checkpoint that this attempt goes on from."""

    @property
    def title(self) -> str:
        """Its display name: ``qmix, seed 3``."""
        return f"{self.algo}, seed {self.seed}"


class Tracker(Protocol):
    """Takes a training's numbers while it runs.

    Any method may raise anything: that ends the tracker with a warning, never the training.
    """

    def begin(self, run: TrackedRun) -> None:
        """Open the destination, with ``run.points`` in it, each once."""

    def add(self, points: Sequence[Point]) -> None:
        """Take points that follow those so far; ``env_steps`` never decreases."""

    def finish(self, status: Status) -> None:
        """Close it; called once, also when the training has failed."""
