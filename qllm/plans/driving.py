"""Plans on an executor: submit the pieces, then merge."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

from qllm.display import Bar
from qllm.errors import UsageError, WorkError
from qllm.executors.base import Executor, open_executor
from qllm.executors.queue import TaskQueue
from qllm.jobs.runner import Job
from qllm.jobs.session import FinalStatus, Outcome, Session
from qllm.plans.merge import Merging, merge, merged_run, pieces_of
from qllm.plans.piece import piece_task
from qllm.plans.plan import Plan, plan_of_trainings, write_plan

PLAN_FILE = "plan.json"
"""In the folder of the pieces, for `qllm worker` and `qllm merge`."""

WAIT_S = 0.2
LEAVE_S = 60.0
"""Time in seconds that running pieces have to save when the job is stopped."""


def run_planned(
    session: Session, plan: Plan, home: Path, opened: Callable[[], Executor]
) -> Outcome:
    """Have an executor do what has not finished of a plan, and merge it into the session's store.

    The same plan again goes on where it stood.

    Args:
        home: of the pieces; every machine sees it under this path.

    Raises:
        UsageError: the executor cannot be used.
        WorkError: no piece has finished.
        KeyboardInterrupt: Ctrl-C before any piece had finished.
    """
    before = merged_run(session.store, plan)
    if before is None or before.status != "finished":
        _carry_out(session, plan, home, opened)
    try:
        return merge(session, plan, home)
    except UsageError as error:
        if session.control.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise WorkError(str(error)) from None


class ExecutedJob(Job):
    """A job whose trainings, like its pilots, are done by its session's executor."""

    def train(self) -> tuple[FinalStatus, str | None]:
        """Do every training that has not finished, as pieces of a plan, and bring them in."""
        session, config, choice = self.session, self.config, self.session.executor
        assert choice is not None
        plan = plan_of_trainings("compare", config, self.card, self.credit)
        home = session.store.home.resolve()
        how = choice.surroundings(plan.folder(home), config, session.display)
        session.sandboxes.close()  # each piece has its own
        _carry_out(session, plan, home, lambda: open_executor(choice.name, how))
        finished, missing = pieces_of(plan, home)
        job = Merging(
            session, self.kind, self.run_id, config, self.card, self.credit, finished, missing
        )
        return job.train()


def _carry_out(session: Session, plan: Plan, home: Path, opened: Callable[[], Executor]) -> None:
    file = plan.folder(home) / PLAN_FILE
    write_plan(plan, file)
    executor, total = opened(), len(plan.pieces)
    session.display.note(f"plan '{file}': pieces 0 to {total - 1}")
    try:
        with session.display.begin(f"{total} pieces", total, unit="pieces") as bar:
            _drive(session, plan, home, executor, bar)
    finally:
        executor.close()


def _drive(session: Session, plan: Plan, home: Path, executor: Executor, bar: Bar) -> None:
    """Bring all pieces to their ends, or as far as it goes."""
    display, until = session.display, math.inf
    queue = TaskQueue(executor, lambda text: display.note(text, "warning"))
    for piece in plan.pieces:
        queue.add(piece.title, piece_task(plan, piece.index, home))

    def obey() -> None:
        nonlocal until
        if not queue.stopping and session.control.training() == "stop":
            queue.stop()
            until = time.monotonic() + LEAVE_S

    while queue.left and time.monotonic() < until:
        obey()
        queue.begin()
        obey()  # a piece that was done in this process may have met the signal
        ended = list(queue.ended())
        for place, answer in ended:
            if answer["status"] == "failed":
                display.note(f"{plan.pieces[place].title}: {answer['error']}", "error")
            if answer["status"] in ("finished", "failed"):
                bar.update(len(plan.pieces) - queue.left)
        if not ended:
            time.sleep(WAIT_S)
