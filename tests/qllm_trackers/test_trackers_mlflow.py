"""MLflow: each step once, in a store that needs no server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from test_trackers_background import loss, tracked

from qllm.trackers.mlflow import MlflowTracker
from qllm.trackers.points import EvaluationPoint, MetricPoint

tracking = pytest.importorskip("mlflow.tracking", reason="needs the extra mlflow")


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)


def _steps(client: Any, run_id: str, tag: str) -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run_id, tag))


def _track_twice(folder: Path, **settings: str) -> None:
    first = MlflowTracker()
    first.begin(tracked(folder, **settings))
    first.add([EvaluationPoint(1, 0, 0.0, (1.0, 3.0)), loss(10), loss(20)])
    first.finish("stopped")
    second = MlflowTracker()  # from a checkpoint at step 10; step 15 was missed
    kept = EvaluationPoint(1, 0, 0.0, (1.0, 3.0)), loss(10), MetricPoint(15, 1.5, "epsilon", 0.5)
    second.begin(tracked(folder, *kept, attempt=2, **settings))
    second.add([loss(20, 9.0)])
    second.add([loss(30, 8.0)])
    second.finish("finished")


def _check(client: Any, project: str) -> None:
    experiment = client.get_experiment_by_name(project)
    (run,) = client.search_runs([experiment.experiment_id])
    assert _steps(client, run.info.run_id, "train/loss") == [(10, 1.0), (20, 1.0), (30, 8.0)]
    assert _steps(client, run.info.run_id, "eval/return_mean") == [(0, 2.0)]
    assert _steps(client, run.info.run_id, "train/epsilon") == [(15, 0.5)]
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert {m.timestamp for m in history} == {1_700_000_000_000 + 1_000 * k for k in (1, 2, 3)}
    assert (run.info.status, run.info.run_name) == ("FINISHED", "vdn, seed 3")
    assert run.data.params["learner.lr"] == "0.5"
    assert run.data.params["env.observe"] == "own"
    assert run.data.tags["task"] == "matrix/climbing"


def test_a_resumed_run_goes_on_in_a_folder_and_has_each_step_once(tmp_path: Path) -> None:
    uri = (tmp_path / "store").as_uri()
    _track_twice(tmp_path, mlflow_uri=uri, project="mine")
    _check(tracking.MlflowClient(uri), "mine")


@pytest.mark.slow
def test_by_default_it_goes_to_a_database_beside_the_runs(tmp_path: Path) -> None:
    _track_twice(tmp_path)
    _check(tracking.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"), "qllm")
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.lock"}
