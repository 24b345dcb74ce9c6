"""Transfer of a finished training and all its records between stores."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select

from qllm.store.schema import Attempt, Evaluation, Metric, Run
from qllm.store.store import Store

_KEPT = (
    "status", "attempt", "versions", "started", "ended", "error", "host", "boot_id", "pid",
    "process_started", "beat", "env_steps", "total_steps", "env_steps_per_s", "result",
)  # fmt: skip
"""Columns of a run's outcome; the others identify and place it."""


def copy_training(source: Store, run_id: int, target: Store, target_id: int) -> None:
    """Write a training's records to a queued one of another store, in one transaction.

    Its files are the caller's concern.
    """
    with source.database.read() as session:
        run = session.get_one(Run, run_id)
        outcome = {name: getattr(run, name) for name in _KEPT}
        rows = {table: _rows(session, table, run_id) for table in (Attempt, Metric, Evaluation)}
    with target.database.write() as session:
        copied = session.get_one(Run, target_id)
        for name, value in outcome.items():
            setattr(copied, name, value)
        for table, found in rows.items():
            if found:
                session.execute(insert(table), [{**row, "run_id": target_id} for row in found])


def _rows(session: Any, table: type[Attempt] | type[Metric] | type[Evaluation], run_id: int) -> Any:
    columns = [column for column in table.__table__.columns if column.name != "id"]
    order = list(table.__table__.primary_key)
    found = session.execute(select(*columns).where(table.run_id == run_id).order_by(*order))
    return [row._asdict() for row in found]


def recorded_otherwise(one: Store, run_id: int, other: Store, other_id: int) -> str | None:
    """First difference between two trainings' records, times aside; None where they are equal."""
    evaluations = [
        [(e.env_steps, e.returns) for e in store.training.evaluations(number)]
        for store, number in ((one, run_id), (other, other_id))
    ]
    if evaluations[0] != evaluations[1]:
        return "evaluations"
    metrics = [
        [(m.env_steps, m.name, m.value) for m in store.training.every_metric(number)]
        for store, number in ((one, run_id), (other, other_id))
    ]
    return "metrics" if metrics[0] != metrics[1] else None
