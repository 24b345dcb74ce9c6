"""What can go wrong in training, split by when it is known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SettingsError(ValueError):
    """A setting that cannot work; known before any training began."""


class TrainingError(RuntimeError):
    """Training began and cannot go on; the message names the step and what was kept."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written, found, read, or does not belong to this run."""


def near_names(name: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown name: the near ones, or all there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"choose from {', '.join(names)}"
