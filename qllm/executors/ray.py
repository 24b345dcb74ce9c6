"""Tasks of Ray, on this machine or a cluster.

Ray reads its settings from the environment while it is imported, so it is imported when an executor
is opened.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from qllm.errors import UsageError
from qllm.executors.base import DiedError, Surroundings, refuse_options
from qllm.executors.task import perform

TASKS_OF_A_WORKER = 16
"""A fresh one imports torch and warms up a sandbox, which takes seconds."""


class _Call:
    """A remote call that is queued, running or done."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def answer(self) -> str | None:
        import ray
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError

        done, _ = ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            text: str = ray.get(self._reference)
        except TaskCancelledError:
            raise DiedError("its task was cancelled") from None
        except RayTaskError as error:  # it raised an exception
            raise UsageError(str(error.cause).strip().splitlines()[-1]) from None
        except RayError as error:
            raise DiedError(f"its worker is gone ({type(error).__name__})") from None
        return text

    def stop(self) -> None:
        """Interrupt it; its last checkpoint is kept."""
        import ray

        ray.cancel(self._reference)


class RayExecutor:
    """A remote call for each task, in a process that does no more than some of them.

    Options are ``address`` (of a running cluster; a cluster of this machine is started without),
    ``num_cpus`` and ``num_gpus`` of a task, which is how Ray decides how many run at once.
    """

    at_once = None

    def __init__(self, surroundings: Surroundings) -> None:
        options = surroundings.options
        usual = {"num_cpus": surroundings.threads, "num_gpus": 0}
        refuse_options("ray", options, ["address", *usual])
        try:
            needs = {key: float(options.get(key, number)) for key, number in usual.items()}
        except ValueError as error:
            raise UsageError(f"--with: {error}") from None
        address = options.get("address")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address is None:
            _make_private()
        import ray

        where = {"address": address} if address else {"_node_ip_address": "127.0.0.1"}
        try:
            ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # noqa: BLE001 - some of Ray's own are bare
            ray.shutdown()
            raise UsageError(f"executor 'ray': {error}".splitlines()[0]) from None
        # A worker is replaced after some tasks, which bounds its memory. We begin a task again
        # ourselves.
        how = {**needs, "max_retries": 0, "max_calls": TASKS_OF_A_WORKER}
        self._perform: Any = ray.remote(**how)(perform)

    def submit(self, task: str) -> _Call:
        return _Call(self._perform.remote(task))

    def close(self) -> None:
        """Leave the cluster, or end it where it was started here."""
        import ray

        ray.shutdown()


def _make_private() -> None:
    """Restrict a cluster of this process to its own children, as Ray runs any code it gets.

    Without a token of ours, Ray would write one into the user's home.
    """
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
