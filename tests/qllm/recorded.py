"""What the trainings of a store recorded, to be held against another's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from qllm.store.schema import Base
from qllm.store.store import Store

TIMES = {"wall_s", "env_steps_per_s"}


def recorded(store: Store) -> list[Any]:
    """What the trainings of run 1 recorded, without ids and times."""
    found = []
    for training in store.runs.trainings(1):
        kept = {k: v for k, v in (training.result or {}).items() if k not in TIMES}
        found.append(
            (
                (training.algo, training.seed, training.status, training.config, kept),
                [(e.env_steps, e.returns) for e in store.training.evaluations(training.id)],
                [(m.env_steps, m.name, m.value) for m in store.training.every_metric(training.id)],
            )
        )
    return found


def everything(store: Store) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with store.database.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }
