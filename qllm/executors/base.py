"""The executor protocol. An executor does tasks, given as JSON texts, and knows nothing of runs."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from marl.plugins import Registry
from qllm.display import Display
from qllm.errors import UsageError
from qllm.extras import install_command

if TYPE_CHECKING:
    from qllm.config.tree import RunConfig


class DiedError(RuntimeError):
    """The worker of a task is gone without an answer; the task may be retried."""


class Task(Protocol):
    """A task that an executor has begun."""

    def answer(self) -> str | None:
        """What `qllm.executors.task.perform` returned; None while it runs. Does not wait.

        Raises:
            DiedError: there will be none.
        """

    def stop(self) -> None:
        """Ask it to save and end, or kill it where it cannot be asked."""


class Executor(Protocol):
    """Does tasks; opened by `open_executor`."""

    at_once: int | None
    """Maximum number of tasks at a time; None for one with its own queue."""

    def submit(self, task: str) -> Task:
        """Begin a task: `qllm.executors.task.perform` of this text, in a process of its choice."""

    def close(self) -> None:
        """End what it has started."""


@dataclass(frozen=True)
class Surroundings:
    """Arguments of an executor's opener."""

    options: Mapping[str, str]
    """The executor's own, as the user typed them."""
    folder: Path
    """For logs and the like; every machine sees it."""
    at_once: int
    """The number that ``--parallel`` gives."""
    threads: int
    """CPU threads of a task."""
    display: Display


@dataclass(frozen=True)
class ExecutorChoice:
    """The executor and options on the command line."""

    name: str
    options: Mapping[str, str]

    def surroundings(self, folder: Path, config: RunConfig, display: Display) -> Surroundings:
        """Its surroundings in a job with these settings."""
        return Surroundings(self.options, folder, config.parallel, config.threads, display)


Opener = Callable[[Surroundings], Executor]


def _open(place: str, surroundings: Surroundings) -> Executor:
    """Import an executor of this package, and open it."""
    executor: Executor = pkgutil.resolve_name(place)(surroundings)
    return executor


def _accepted(name: str, found: Any) -> Opener:
    if not callable(found):
        raise ValueError("is no class or function that opens an executor")
    opener: Opener = found
    return opener


ON_THIS_MACHINE = frozenset({"local", "processes"})
"""Executors of this package that use the job's own processes."""

EXECUTORS: Registry[Opener] = Registry(
    "qllm.executors",
    "executor",
    {
        "local": partial(_open, "qllm.executors.local:LocalExecutor"),
        "processes": partial(_open, "qllm.executors.processes:ProcessesExecutor"),
        "submitit": partial(_open, "qllm.executors.submitit:SubmititExecutor"),
        "ray": partial(_open, "qllm.executors.ray:RayExecutor"),
    },
    _accepted,
)


def require_executor(name: str) -> None:
    """Refuse a name that no executor has.

    Raises:
        UsageError: names those that there are.
    """
    if name not in EXECUTORS:
        raise UsageError(f"--executor {name}: there is {', '.join(EXECUTORS)}")


def open_executor(name: str, surroundings: Surroundings) -> Executor:
    """An executor by its name.

    Raises:
        UsageError: its package is missing, or an option does not fit.
        SettingsError: it is a plug-in that does not load.
    """
    try:
        return EXECUTORS[name](surroundings)
    except ModuleNotFoundError as error:
        extra = {"submitit": "slurm"}.get(name, name)
        raise UsageError(
            f"executor '{name}' needs the Python package '{error.name}', which is not installed: "
            f"{install_command(extra)}"
        ) from None


def refuse_options(name: str, options: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse options that an executor does not have.

    Raises:
        UsageError: names the first one.
    """
    for option in options:
        if option not in known:
            has = ", ".join(known) or "none"
            raise UsageError(f"--with {option}: executor '{name}' has the options {has}")
