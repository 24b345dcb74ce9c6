"""``--executor``: the trainings of a command, done by an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from qllm.config.commands import Command
    from qllm.config.tree import RunConfig
    from qllm.jobs.session import Outcome, Session
    from qllm.plans.plan import PlannedKind


def run_with(
    command: Command, config: RunConfig, name: str, options_: Sequence[str]
) -> Callable[[Session], Outcome]:
    """The job of a command whose trainings an executor does.

    Args:
        name: the executor's.
        options_: its own, as ``KEY=VALUE``.
    """
    given = dict(word.partition("=")[::2] for word in options_)
    if not all("=" in word for word in options_):
        raise typer.BadParameter("--with takes KEY=VALUE")
    from qllm.executors.base import Surroundings, open_executor, require_executor
    from qllm.plans.driving import run_planned
    from qllm.plans.plan import make_plan

    require_executor(name)

    def job(session: Session) -> Outcome:
        home = session.store.home.resolve()
        kind: PlannedKind = "train" if command == "train" else "compare"
        plan = make_plan(session.store, session.sandboxes, kind, config)
        session.sandboxes.close()

        how = Surroundings(
            given, plan.folder(home), config.parallel, config.threads, session.display
        )
        return run_planned(session, plan, home, lambda: open_executor(name, how))

    return job
