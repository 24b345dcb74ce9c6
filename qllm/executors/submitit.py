"""Tasks as jobs of SLURM, by submitit; its ``cluster=local`` and ``debug`` stand in for SLURM."""

from __future__ import annotations

from typing import Any

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError

from qllm.errors import UsageError
from qllm.executors.base import DiedError, Surroundings
from qllm.executors.task import perform


class _Job:
    """A task that is queued, running or done."""

    def __init__(self, job: submitit.Job[str]) -> None:
        self._job = job

    def answer(self) -> str | None:
        if not self._job.done():
            return None
        try:
            return self._job.result()
        except FailedJobError as error:  # it raised an exception
            last = str(error).strip().splitlines()[-1]
            raise UsageError(f"job {self._job.job_id}: {last}") from None
        except UncompletedJobError:
            raise DiedError(
                f"job {self._job.job_id} ended without a result ({self._job.state}): "
                f"'{self._job.paths.stderr}'"
            ) from None

    def stop(self) -> None:
        """Cancel it: SLURM asks it to end, and kills it some time after that."""
        self._job.cancel()


class SubmititExecutor:
    """A job for each task.

    Options are those of ``submitit.AutoExecutor.update_parameters``, such as ``timeout_min``,
    ``slurm_partition``, ``gpus_per_node``, and ``cluster`` (``slurm`` where it is installed, else
    ``local``).
    """

    at_once = None

    def __init__(self, surroundings: Surroundings) -> None:
        given = {key: _number(value) for key, value in surroundings.options.items()}
        cluster = given.pop("cluster", None)
        defaults = {"name": "qllm", "cpus_per_task": surroundings.threads, "timeout_min": 24 * 60}
        try:
            self._executor = submitit.AutoExecutor(surroundings.folder / "jobs", cluster=cluster)
            self._executor.update_parameters(**{**defaults, **given})
        except (ValueError, TypeError, NameError, RuntimeError) as error:
            raise UsageError(f"executor 'submitit': {error}".splitlines()[0]) from None
        self._jobs: list[_Job] = []

    def submit(self, task: str) -> _Job:
        job = _Job(self._executor.submit(perform, task))
        self._jobs.append(job)
        return job

    def close(self) -> None:
        """Leave the remaining jobs running; the same command later finds their results."""


def _number(text: str) -> Any:
    return int(text) if text.isdecimal() else text
