"""The rows of ``train``, ``compare`` and ``run``: one per seed, one aggregate per algorithm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marl.statistics import Evaluation, Summary, summarise, summarise_seed, t_interval
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.store import Store

Row = dict[str, Any]


def pair(interval: Sequence[float] | None) -> tuple[float, float] | None:
    """An interval of a row, where there is one."""
    return (interval[0], interval[1]) if interval else None


_RETURNS = (
    "return_mean", "return_iqm", "return_ci", "return_mean_ci", "return_ci_over",
    "best_return_mean", "return_auc",
)  # fmt: skip


def _returns(summary: Summary | None) -> Row:
    """The entries of a row from a summary, intervals as lists; all None without a summary."""
    values = {name: getattr(summary, name, None) for name in _RETURNS}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def _metrics(seeds: Sequence[Mapping[str, float]]) -> Row:
    """The card's metrics at the last evaluation: means and t intervals over seeds."""
    names = sorted({name for seed in seeds for name in seed})
    row: Row = {"metrics": names} if names else {}
    for name in names:
        values = [seed[name] for seed in seeds if name in seed]
        interval = t_interval(values)
        row[f"{name}_mean"] = sum(values) / len(values)
        row[f"{name}_mean_ci"] = list(interval) if interval else None
    return row


def _seed_row(run: Run, evaluations: Sequence[Evaluation], metrics: Mapping[str, float]) -> Row:
    result = run.result or {}
    return {
        "run": run.id,
        "task": run.task,
        "algo": run.algo,
        "seed": run.seed,
        "status": derived_status(run),
        "env_steps": run.env_steps,
        "env_steps_per_s": result.get("env_steps_per_s", run.env_steps_per_s),
        **_metrics([metrics] if metrics else []),
        **_returns(summarise_seed(evaluations) if evaluations else None),
        "learnable_parameters": result.get("learnable_parameters"),
        "wall_s": result.get("wall_s"),
        "pilot_steps": run.inputs.get("pilot_steps", 0),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _aggregate(
    parent: int,
    rows: Sequence[Row],
    summary: Summary | None,
    metrics: Sequence[Mapping[str, float]],
) -> Row:
    """An algorithm's row: returns over its finished seeds, steps and time summed over them."""
    first = rows[0]
    walls = [row["wall_s"] for row in rows if row["wall_s"] is not None]
    return {
        "run": parent,
        "task": first["task"],
        "algo": first["algo"],
        "seed": None,
        "status": "finished" if all(r["status"] == "finished" for r in rows) else "unfinished",
        "seeds": sum(row["status"] == "finished" for row in rows),
        "env_steps": sum(row["env_steps"] for row in rows),
        "env_steps_per_s": _mean([row["env_steps_per_s"] for row in rows]),
        **_metrics(metrics),
        **_returns(summary),
        "learnable_parameters": first["learnable_parameters"],
        "wall_s": sum(walls) if walls else None,
        "pilot_steps": first["pilot_steps"],
    }


def result_rows(store: Store, parent_id: int) -> list[Row]:
    """The rows of a run's trainings, from what the store holds of them.

    Seeds that have not finished have a row of what there is; the aggregate's returns count the
    finished ones only, and it alone has an IQM, which is over seeds. Its ``env_steps`` and
    ``wall_s`` are sums over the seeds, ``env_steps_per_s`` is their mean, and ``pilot_steps`` is
    what was spent once on the choice. A card's metrics, whose names stand in ``metrics``, have
    ``NAME_mean`` in every row, with an interval in those over seeds.
    """
    by_algorithm: dict[str, list[Run]] = {}
    for child in store.runs.children(parent_id):
        if child.kind == "train" and child.algo is not None:
            by_algorithm.setdefault(child.algo, []).append(child)
    rows: list[Row] = []
    for runs in by_algorithm.values():
        pairs = [
            (run, [(e.env_steps, e.returns) for e in store.training.evaluations(run.id)])
            for run in runs
        ]
        last = {run.id: _last_metrics(store, run) for run in runs}
        own = [_seed_row(run, evaluated, last[run.id]) for run, evaluated in pairs]
        done = [evaluated for run, evaluated in pairs if run.status == "finished" and evaluated]
        metrics = [last[run.id] for run in runs if run.status == "finished" and last[run.id]]
        rows += [*own, _aggregate(parent_id, own, summarise(done) if done else None, metrics)]
    return rows


def _last_metrics(store: Store, run: Run) -> dict[str, float]:
    """The card's metrics at a training's last evaluation."""
    found = store.training.evaluated(run.id)
    return {name: points[-1][1] for name, points in found.items() if points}


def rows_of(store: Store, run: Run) -> list[Row]:
    """`result_rows` of a run; for one seed of several, its own row among those of its parent."""
    rows = result_rows(store, run.id)
    if not rows and run.parent_id is not None:
        of_parent = result_rows(store, run.parent_id)
        rows = [row for row in of_parent if row["run"] == run.id and row["seed"] is not None]
    return rows
