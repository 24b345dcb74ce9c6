"""The list of runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from qllm.store.runs import Status, derived_status
from qllm.store.schema import Run
from qllm.store.store import Store


@dataclass(frozen=True)
class RunRow:
    """One run in the list."""

    id: int
    kind: str
    status: Status
    task: str
    algo: str
    env_steps: int
    total_steps: int
    rate: float | None
    """Environment steps per second."""
    elapsed_s: float | None
    error: str


@dataclass(frozen=True)
class RunsQuery:
    """The newest runs that do not belong to another."""

    limit: int = 1_000

    def read(self, store: Store, memory: dict[str, Any]) -> tuple[RunRow, ...]:
        """Newest first."""
        now = time.time()
        return tuple(_row(run, now) for run in store.runs.listed(limit=self.limit, top_level=True))


def _row(run: Run, now: float) -> RunRow:
    status = derived_status(run)
    end = run.ended or (now if status in ("running", "paused") else run.beat)
    return RunRow(
        id=run.id,
        kind=run.kind,
        status=status,
        task=run.task,
        algo=run.algo or "",
        env_steps=run.env_steps,
        total_steps=run.total_steps,
        rate=run.env_steps_per_s,
        elapsed_s=end - run.started if run.started and end else None,
        error=run.error or "",
    )
