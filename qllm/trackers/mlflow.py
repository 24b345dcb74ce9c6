"""MLflow: a SQLite file beside the runs, unless another tracking store is set.

A resumed training is found by its ``uid``, a tag of the MLflow run. What that run has of a metric
up to some step is left out, so that each metric has each step once: that of the first attempt.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from marl.settings.base import leaves
from qllm.trackers.points import Point, scalars
from qllm.trackers.protocol import Status, TrackedRun

_BATCH = 500
"""MLflow takes 1,000 metrics or 100 parameters at once."""
_PARAMETERS = 100
_LONGEST = 500
"""Characters of a parameter that every version takes."""
_UID = "qllm.uid"
_ENDED: dict[Status, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowTracker:
    """Metrics over environment steps; settings are parameters such as ``learner.lr``."""

    def begin(self, run: TrackedRun) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow.entities import Param

        project = run.settings.project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "qllm"
        uri = run.settings.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI")
        with _alone(run.home / "mlflow.lock"):
            self._client, experiment = _opened(uri, run.home.resolve(), project)
        found = self._client.search_runs(
            [experiment], filter_string=f"tags.`{_UID}` = '{run.uid}'", max_results=1
        )
        self._began, self._last = run.began, dict[str, int]()
        self._resumed = bool(found)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {_UID: run.uid, "qllm.run": run.name, "qllm.group": run.group}
            tags |= {"task": run.task, "algo": run.algo, "seed": str(run.seed)}
            tags |= {f"version.{package}": version for package, version in run.versions.items()}
            created = self._client.create_run(
                experiment, start_time=int(1000 * run.began), tags=tags, run_name=run.title
            )
            self._id = created.info.run_id
            parameters = [
                Param(path, _text(value)[:_LONGEST]) for path, value in leaves(run.config)
            ]
            for part in _parts(parameters, _PARAMETERS):
                self._client.log_batch(self._id, params=part)
        self.add(run.points)

    def add(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        new = [
            Metric(s.tag, s.value, int(1000 * (self._began + s.wall_s)), s.env_steps)
            for s in scalars(points)
            if s.env_steps > self._last_step(s.tag)
        ]
        for part in _parts(new, _BATCH):
            self._client.log_batch(self._id, metrics=part)

    def _last_step(self, tag: str) -> int:
        """The last step of a metric in a resumed MLflow run; else -1."""
        if self._resumed and tag not in self._last:
            steps = (m.step for m in self._client.get_metric_history(self._id, tag))
            self._last[tag] = max(steps, default=-1)
        return self._last.get(tag, -1)

    def finish(self, status: Status) -> None:
        self._client.set_terminated(self._id, _ENDED[status])


def _opened(uri: str | None, home: Path, project: str) -> tuple[Any, str]:
    """A client of a tracking store, and the id of its experiment; both are made as needed."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    if uri is not None and uri.startswith("file:"):  # refused by new versions unless one insists
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(uri or f"sqlite:///{home}/mlflow.db")
    found = client.get_experiment_by_name(project)
    if found is None:
        place = (home / "mlartifacts").as_uri() if uri is None else None
        try:
            return client, client.create_experiment(project, artifact_location=place)
        except MlflowException:  # somebody else has just made it
            found = client.get_experiment_by_name(project)
            if found is None:
                raise
    return client, found.experiment_id


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other trainings of these runs waiting: a database is made by one process."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parts(whole: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (whole[start : start + size] for start in range(0, len(whole), size))
