"""``--executor``: the pilots and trainings of a command, done by an executor."""

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


def chosen(name: str, options_: Sequence[str]) -> ExecutorChoice:
    """The executor that the command line names.

    Args:
        options_: its own, as ``KEY=VALUE``.

    Raises:
        UsageError: there is none of this name.
    """
    if not all("=" in word for word in options_):
        raise typer.BadParameter("--with takes KEY=VALUE")
    from qllm.executors.base import ExecutorChoice, require_executor

    require_executor(name)
    return ExecutorChoice(name, dict(word.partition("=")[::2] for word in options_))


def run_with(
    command: Command, config: RunConfig, choice: ExecutorChoice, *, go_on: bool
) -> Callable[[Session], Outcome]:
    """The job of a command whose pilots and trainings an executor does.

    Args:
        go_on: with the newest search of the same command, where there is one; trainings alone
            always go on.
    """
    if choice.name == "local":
        config = config.model_copy(update={"parallel": 1})
    return (_searching if command in ("synth", "run") else _training)(
        command, config, choice, go_on=go_on
    )


def resume_with(
    run_id: int, parallel: int | None, choice: ExecutorChoice
) -> Callable[[Session], Outcome]:
    """The job that goes on with a run, its pilots and trainings done by an executor."""
    from qllm.jobs import runner
    from qllm.plans.driving import ExecutedJob

    def job(session: Session) -> Outcome:
        _require_usable(session, choice)
        return runner.resume(session, run_id, parallel=parallel, job=ExecutedJob)

    return job


def _require_usable(session: Session, choice: ExecutorChoice) -> None:
    """Give the session its executor, which is opened once: a search comes before it is needed.

    Raises:
        UsageError: it cannot be used.
    """
    from qllm.executors.base import Surroundings, open_executor

    with TemporaryDirectory() as folder:
        how = Surroundings(choice.options, Path(folder), 1, 1, session.display)
        open_executor(choice.name, how).close()
    session.executor = choice


def _searching(
    command: Command, config: RunConfig, choice: ExecutorChoice, *, go_on: bool
) -> Callable[[Session], Outcome]:
    from qllm.jobs import runner
    from qllm.plans.driving import ExecutedJob

    def job(session: Session) -> Outcome:
        _require_usable(session, choice)
        return runner.start(session, command, config, go_on=go_on, job=ExecutedJob)

    return job


def _training(
    command: Command, config: RunConfig, choice: ExecutorChoice, *, go_on: bool
) -> Callable[[Session], Outcome]:
    from qllm.executors.base import open_executor
    from qllm.plans.driving import run_planned
    from qllm.plans.plan import make_plan

    def job(session: Session) -> Outcome:
        home = session.store.home.resolve()
        kind: PlannedKind = "train" if command == "train" else "compare"
        plan = make_plan(session.store, session.sandboxes, kind, config)
        session.sandboxes.close()
        how = choice.surroundings(plan.folder(home), config, session.display)
        return run_planned(session, plan, home, lambda: open_executor(choice.name, how))

    return job
