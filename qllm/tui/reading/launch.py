"""Queries of the form that starts jobs: a run to copy, and the run that was started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qllm.store.runs import require_sound
from qllm.store.store import Store

_NEWEST = 50
_CLOCKS_S = 5.0


@dataclass(frozen=True)
class NothingQuery:
    """An empty query."""

    def read(self, store: Store, memory: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class LikeRun:
    """A run's settings."""

    kind: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class LikeQuery:
    """The settings of a run, to start a copy."""

    run_id: int

    def read(self, store: Store, memory: dict[str, Any]) -> LikeRun:
        """Its kind and stored configuration.

        Raises:
            UnknownRunError: there is no such run.
            StoreError: it is damaged.
        """
        run = store.runs.get(self.run_id)
        require_sound([run])
        return LikeRun(run.kind, run.config)


@dataclass(frozen=True)
class StartedRun:
    """The run that a job works on."""

    id: int
    kind: str


@dataclass(frozen=True)
class StartedQuery:
    """The run of a job that was just started."""

    pid: int
    since: float
    """Seconds since the epoch; an older run may have had the same pid."""

    def read(self, store: Store, memory: dict[str, Any]) -> StartedRun | None:
        """The newest run of this process, or ``None`` while there is none."""
        for run in store.runs.listed(limit=_NEWEST, top_level=True):
            began = run.started if run.started is not None else run.created
            if run.pid == self.pid and began >= self.since - _CLOCKS_S:
                return StartedRun(run.id, run.kind)
        return None
