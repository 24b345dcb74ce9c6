"""A large run store to measure the app with, and a job that keeps writing to it."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qllm.config.build import build_config
from qllm.spawn import python_command
from qllm.store.store import Store, open_store
from qllm.store.training import MetricPoint

SERIES = (
    "epsilon",
    "grad_norm",
    "loss",
    "q_tot_mean",
    "target_mean",
    "td_error_abs",
    "train_return",
)

_SEARCH = (
    *("synth", "matrix/climbing", "synth.rounds=3", "synth.candidates=8"),
    *("synth.pilot_updates=20", "synth.pilot_seeds=2"),
)

_STEPS = 200_000
"""Of each training."""

_EVALUATIONS = 100
_EPISODES = 20
_METRIC_INDEX = "ix_metrics_series"


def build_big_store(home: Path, *, runs: int = 1_000, points: int = 10_000_000) -> int:
    """Fill a new store; returns the id of the newest run.

    The oldest run is a search by the embedded coder, really run. The others are families: a
    ``train`` with four seeds. All were evaluated a hundred times; the points of the metrics are
    spread evenly over the trainings.

    Args:
        runs: rows in the table of runs.
        points: rows in the table of metrics.
    """
    search = python_command("qllm.cli.main:run", *_SEARCH, "--home", str(home))
    subprocess.run(search, check=True, capture_output=True)
    families = max(1, runs // 5)
    config = build_config(flags={"task": "matrix/climbing"}).model_dump(mode="json")
    with open_store(home) as store:
        trainings: list[int] = []
        for number in range(families):
            trainings += _family(store, number, config)
        last = store.runs.listed(limit=1, top_level=True)[0].id
    with sqlite3.connect(home / "qllm.db") as database:
        database.execute("PRAGMA synchronous=OFF")
        database.execute(f"DROP INDEX {_METRIC_INDEX}")
        database.executemany(
            "INSERT INTO metrics (run_id, attempt, env_steps, wall_s, name, value)"
            " VALUES (?, 1, ?, ?, ?, ?)",
            _metrics(trainings, points),
        )
        database.executemany(
            "INSERT INTO evaluations (run_id, attempt, env_steps, wall_s, returns)"
            " VALUES (?, 1, ?, ?, ?)",
            _evaluations(trainings),
        )
        database.execute(f"CREATE INDEX {_METRIC_INDEX} ON metrics (run_id, name, id)")
    database.close()
    return last


def _family(store: Store, number: int, config: dict[str, Any]) -> list[int]:
    """One finished ``train``; returns its trainings."""

    def finished(steps: int, parent_id: int | None = None, seed: int | None = None) -> int:
        run_id = store.runs.create(
            "train",
            "matrix/climbing",
            config=config,
            command="qllm train matrix/climbing",
            versions={},
            parent_id=parent_id,
            algo=("vdn", "qmix", "qplex", "iql")[number % 4],
            seed=seed,
            total_steps=steps,
        )
        store.runs.begin(run_id)
        store.runs.progress(run_id, env_steps=steps, env_steps_per_s=2_500.0)
        store.runs.finish(run_id, "finished")
        return run_id

    parent = finished(4 * _STEPS)
    return [finished(_STEPS, parent, seed) for seed in range(4)]


def _metrics(trainings: list[int], points: int) -> Iterator[tuple[int, int, float, str, float]]:
    steps = points // len(trainings) // len(SERIES)
    shape = [
        (at, at / 2_500, math.exp(-3 * at / steps) + 0.1 * random.random()) for at in range(steps)
    ]
    for run_id in trainings:
        for at, wall, value in shape:
            for name in SERIES:
                yield run_id, 100 * at, wall, name, value


def _evaluations(trainings: list[int]) -> Iterator[tuple[int, int, float, str]]:
    rng = random.Random(0)
    returns = [
        json.dumps([150 * (1 - math.exp(-at / 20)) + rng.gauss(0, 9) for _ in range(_EPISODES)])
        for at in range(_EVALUATIONS)
    ]
    for run_id in trainings:
        for at, drawn in enumerate(returns):
            yield run_id, 2_000 * at, at * 0.8, drawn


class BusyJob:
    """Takes one run over and writes to it as a training does, five times a second."""

    def __init__(self, home: Path, run_id: int) -> None:
        self._home, self._run_id = home, run_id
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop writing."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        with open_store(self._home) as store:
            child = store.runs.children(self._run_id)[0].id
            store.runs.begin(self._run_id, resumed_at=4 * _STEPS)
            attempt = store.runs.begin(child, resumed_at=_STEPS)
            beats = 0
            while not self._ended.wait(0.2):
                beats += 1
                steps, wall = _STEPS + 50 * beats, 80 + 0.2 * beats
                value = random.random()
                points = [MetricPoint(steps, wall, name, value) for name in SERIES]
                store.training.record_metrics(child, attempt, points)
                if beats % 10 == 0:
                    returns = [150.0 + value] * 20
                    store.training.record_evaluation(child, attempt, steps, wall, returns)
                store.runs.progress(child, env_steps=steps, env_steps_per_s=250.0 + value)
                store.runs.progress(
                    self._run_id, env_steps=steps, env_steps_per_s=250.0, total_steps=900_000
                )
