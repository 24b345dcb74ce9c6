"""Metrics and evaluations of trainings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, select

from qllm.store.attempts import live_rows
from qllm.store.damage import Damaged, damage_in
from qllm.store.database import Database
from qllm.store.numbers import run_name
from qllm.store.outage import patient
from qllm.store.schema import Evaluation, Metric
from qllm.trackers.points import EVALUATED as EVALUATED
from qllm.trackers.points import EvaluationPoint as EvaluationPoint
from qllm.trackers.points import MetricPoint as MetricPoint


class SeriesPoint(NamedTuple):
    """One stored number of a series; ``value`` is None where it was not finite."""

    id: int
    env_steps: int
    wall_s: float
    value: float | None


@patient()
class TrainingTable:
    """The ``metrics`` and ``evaluations`` tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_metrics(self, run_id: int, attempt: int, points: Sequence[MetricPoint]) -> None:
        """Store a batch of numbers in one transaction."""
        rows = [Metric(run_id=run_id, attempt=attempt, **point._asdict()) for point in points]
        if rows:
            with self._database.write() as session:
                session.add_all(rows)

    def record_evaluation(
        self, run_id: int, attempt: int, env_steps: int, wall_s: float, returns: Sequence[float]
    ) -> EvaluationPoint:
        """Store the returns of one evaluation; returns it as it was stored."""
        row = Evaluation(
            run_id=run_id,
            attempt=attempt,
            env_steps=env_steps,
            wall_s=wall_s,
            returns=[float(r) for r in returns],
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            return EvaluationPoint(row.id, env_steps, wall_s, tuple(row.returns))

    def drop_evaluation(self, run_id: int, env_steps: int) -> None:
        """Delete an evaluation at the step of the checkpoint that a run resumes from.

        A checkpoint may be older than the evaluation at its own step, which is then done again:
        not later than the checkpoint, the first one would count beside the second.
        """
        with self._database.write() as session:
            for table in (Evaluation, Metric):
                mine = table.run_id == run_id, table.env_steps == env_steps
                of_evaluations = Metric.name.startswith(EVALUATED, autoescape=True)
                only = (of_evaluations,) if table is Metric else ()
                session.execute(delete(table).where(*mine, *only))

    def metric_names(self, run_id: int) -> list[str]:
        """Names of the series that a run has, sorted."""
        query = select(Metric.name).where(Metric.run_id == run_id).distinct()
        with self._database.read() as session:
            return sorted(session.scalars(query))

    def evaluated(self, run_id: int) -> dict[str, list[tuple[int, float]]]:
        """The card's metrics by name: (environment steps, mean) of each evaluation."""
        names = [name for name in self.metric_names(run_id) if name.startswith(EVALUATED)]
        return {
            name.removeprefix(EVALUATED): [
                (point.env_steps, point.value)
                for point in self.metrics(run_id, name)
                if point.value is not None
            ]
            for name in names
        }

    def metrics(
        self, run_id: int, name: str, *, after_id: int = 0, limit: int | None = None
    ) -> list[SeriesPoint]:
        """A series without superseded points, or its tail after the point ``after_id``."""
        columns = Metric.id, Metric.env_steps, Metric.wall_s, Metric.value
        own = Metric.name == name, Metric.id > after_id
        return [SeriesPoint(*row) for row in self._live(Metric, columns, run_id, *own, limit=limit)]

    def every_metric(self, run_id: int) -> list[MetricPoint]:
        """All series of a run without superseded points, in the order in which they were stored."""
        columns = Metric.env_steps, Metric.wall_s, Metric.name, Metric.value
        return [MetricPoint(*row) for row in self._live(Metric, columns, run_id)]

    def recorded(self, run_id: int) -> bool:
        """Whether a run has any number or evaluation that is not superseded."""
        with self._database.read() as session:
            return any(
                session.scalar(select(table.id).where(live_rows(session, table, run_id)).limit(1))
                for table in (Metric, Evaluation)
            )

    def evaluations(self, run_id: int, *, after_id: int = 0) -> list[EvaluationPoint]:
        """A run's evaluations without superseded ones, in order, or the tail after ``after_id``."""
        columns = Evaluation.id, Evaluation.env_steps, Evaluation.wall_s, Evaluation.returns
        rows = self._live(Evaluation, columns, run_id, Evaluation.id > after_id)
        return [EvaluationPoint(id_, steps, wall_s, tuple(r)) for id_, steps, wall_s, r in rows]

    def _live(
        self,
        table: type[Metric] | type[Evaluation],
        columns: tuple[Any, ...],
        run_id: int,
        *where: ColumnElement[bool],
        limit: int | None = None,
    ) -> list[Any]:
        """Columns of a run's rows without superseded and damaged ones, in their order."""
        with self._database.read() as session:
            query = select(*columns).where(live_rows(session, table, run_id), *where)
            found = session.execute(query.order_by(table.id).limit(limit))
            return list(self._sound(found, run_id))

    def _sound(self, rows: Iterable[Row[Any]], run_id: int) -> Iterator[Any]:
        """The rows without damaged ones, which are noted for their run."""
        for row in rows:
            if any(isinstance(value, Damaged) for value in row):
                words = ", ".join(damage_in(row._asdict().items()))
                self._database.damage.setdefault(f"a number of run {run_name(run_id)}", words)
            else:
                yield row
