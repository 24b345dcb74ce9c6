"""The result table of a run: a row for each seed, and one for each algorithm over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from marl.statistics import Interval
from qllm.jobs.rows import Row, pair, rows_of
from qllm.store.schema import Run
from qllm.store.store import Store


@dataclass(frozen=True)
class ResultRow:
    """One row of the result table: a seed, or an algorithm over its seeds (``seed`` None)."""

    algo: str
    seed: int | None
    env_steps: int | None = None
    env_steps_per_s: float | None = None
    metrics: Mapping[str, tuple[float, Interval | None]] = field(default_factory=dict)
    """The card's metrics: mean, and interval over seeds."""
    return_mean: float | None = None
    return_iqm: float | None = None
    return_ci: Interval | None = None
    """Of the interquartile mean, which only an algorithm's row has."""
    return_mean_ci: Interval | None = None
    return_ci_over: str | None = None
    best_return_mean: float | None = None
    return_auc: float | None = None
    learnable_parameters: int | None = None
    pilot_steps: int | None = 0
    """Environment steps spent on selecting its function; None where unrecorded."""
    wall_s: float | None = None
    status: str = "finished"
    """Of a seed's training."""

    @classmethod
    def of(cls, row: Row) -> ResultRow:
        """A row of `qllm.jobs.rows`."""
        known = {f.name: row[f.name] for f in fields(cls) if f.name in row}
        known |= {name: pair(row[name]) for name in ("return_ci", "return_mean_ci")}
        known["metrics"] = {
            name: (row[f"{name}_mean"], pair(row[f"{name}_mean_ci"]))
            for name in row.get("metrics", ())
        }
        return cls(**known)


def results_of(store: Store, run: Run) -> tuple[ResultRow, ...]:
    """The rows of a run; for one seed of several, its own."""
    return tuple(map(ResultRow.of, rows_of(store, run)))
