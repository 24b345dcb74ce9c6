"""The jobs of commands, with ``--executor`` for their pilots and trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qllm.config.commands import Command
    from qllm.config.tree import RunConfig
    from qllm.executors.base import ExecutorChoice
    from qllm.jobs.session import Outcome, Session
    from qllm.plans.plan import PlannedKind


def chosen(name: str | None, options: Sequence[str] | None) -> ExecutorChoice | None:
    """The executor that the command line names; None without one.

    Args:
        options: its own, as ``KEY=VALUE``.

    Raises:
        UsageError: there is none of this name.
    """
    options = options or []
    if name is None:
        if options:
            raise typer.BadParameter("--with goes with --executor")
        return None
    if not all("=" in word for word in options):
        raise typer.BadParameter("--with takes KEY=VALUE")
    from qllm.executors.base import ExecutorChoice, require_executor

    require_executor(name)
    return ExecutorChoice(name, dict(word.partition("=")[::2] for word in options))


def starting(
    command: Command, config: RunConfig, choice: ExecutorChoice | None, *, go_on: bool
) -> Callable[[Session], Outcome]:
    """The job of a command.

    Args:
        choice: the executor of its pilots and trainings; None for the job itself.
        go_on: with the newest run of the same command, where there is one; trainings of an executor
            always go on.
    """
    from qllm.jobs import runner

    if choice is None:
        return lambda session: runner.start(session, command, config, go_on=go_on)
    from qllm.plans.driving import ExecutedJob

    if choice.name == "local":
        config = config.model_copy(update={"parallel": 1})

    def job(session: Session) -> Outcome:
        if command == "train" or command == "compare":
            return _planned(session, command, config, choice)
        _require_usable(session, choice)
        return runner.start(session, command, config, go_on=go_on, job=ExecutedJob)

    return job


def resuming(
    run_id: int, parallel: int | None, choice: ExecutorChoice | None
) -> Callable[[Session], Outcome]:
    """The job that goes on with a run; ``choice`` as in `starting`."""
    from qllm.jobs import runner

    if choice is None:
        return lambda session: runner.resume(session, run_id, parallel=parallel)
    from qllm.plans.driving import ExecutedJob

    def job(session: Session) -> Outcome:
        _require_usable(session, choice)
        return runner.resume(session, run_id, parallel=parallel, job=ExecutedJob)

    return job


def _require_usable(session: Session, choice: ExecutorChoice) -> None:
    """Give the session its executor, which is opened on first use: a search comes before.

    Raises:
        UsageError: it cannot be used.
    """
    from qllm.executors.base import Surroundings, open_executor

    with TemporaryDirectory() as folder:
        how = Surroundings(choice.options, Path(folder), 1, 1, session.display)
        open_executor(choice.name, how).close()
    session.executor = choice


def _planned(
    session: Session, kind: PlannedKind, config: RunConfig, choice: ExecutorChoice
) -> Outcome:
    from qllm.executors.base import open_executor
    from qllm.plans.driving import run_planned
    from qllm.plans.plan import make_plan

    home = session.store.home.resolve()
    plan = make_plan(session.store, session.sandboxes, kind, config)
    session.sandboxes.close()
    how = choice.surroundings(plan.folder(home), config, session.display)
    return run_planned(session, plan, home, lambda: open_executor(choice.name, how))
