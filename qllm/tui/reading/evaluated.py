"""What ``qllm evaluate --json`` printed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """A training's return, or one of its task's metrics, over episodes."""

    number: str
    """Of the training."""
    algo: str
    seed: int | None
    step: int
    what: str
    mean: float
    ends: list[float] | None
    """Of the t interval of the mean."""
    low: float
    high: float


@dataclass(frozen=True)
class Evaluated:
    """A whole evaluation."""

    said: str
    rows: tuple[Measured, ...]
    notes: tuple[str, ...]
    """What else was printed, such as trainings that were left out."""


def read_evaluated(path: Path) -> Evaluated:
    """The evaluation in a job's log: a document, with lines of stderr around it.

    Raises:
        OSError, ValueError: it cannot be read, or there is none.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if "{" not in lines or "}" not in lines:
        raise ValueError(f"no evaluation in '{path}'")
    first, last = lines.index("{"), len(lines) - 1 - lines[::-1].index("}")
    document = json.loads("\n".join(lines[first : last + 1]))
    task, episodes, seed = (document[key] for key in ("task", "episodes", "seed"))
    rows = tuple(one for row in document["rows"] for one in _measured(row))
    notes = (line.removeprefix("qllm: ") for line in [*lines[:first], *lines[last + 1 :]])
    said = f"{task}: {episodes:,} greedy episodes of each training, seed {seed}"
    return Evaluated(said, rows, tuple(filter(None, notes)))


def _measured(row: dict[str, Any]) -> list[Measured]:
    values = {"return": row["returns"], **row["metric_values"]}
    who = row["number"], row["algo"] or "", row["training_seed"], row["step"]
    return [
        Measured(*who, what, row[f"{what}_mean"], row[f"{what}_mean_ci"], min(each), max(each))
        for what, each in values.items()
    ]
