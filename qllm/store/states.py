"""Kinds of runs, and the states they are in."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["run", "synth", "train", "compare"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SEARCHES: tuple[Kind, ...] = ("synth", "run")
"""Kinds of runs that hold a search."""
TRAINS: tuple[Kind, ...] = ("train", "compare", "run")
"""Kinds of runs that hold trainings."""

Stored = Literal["queued", "running", "paused", "finished", "failed", "stopped"]
Status = Literal[Stored, "died"]
"""``died`` is derived: a run is stored as active, and its process is gone."""
STATUSES: tuple[Stored, ...] = get_args(Stored)
ACTIVE: tuple[Status, ...] = ("running", "paused")
RESUMABLE: tuple[Status, ...] = ("stopped", "failed", "died")
