"""A plan handed to an executor, piece by piece, and merged when it is through."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from qllm.display import Bar
from qllm.errors import UsageError, WorkError
from qllm.executors.base import DiedError, Executor, Task
from qllm.executors.task import task_of
from qllm.jobs.session import Outcome, Session
from qllm.plans.merge import merge, merged_run
from qllm.plans.plan import Piece, Plan, write_plan

PLAN_FILE = "plan.json"
"""In the folder of the pieces, for `qllm worker` and `qllm merge`."""

WAIT_S = 0.2
LEAVE_S = 60.0
"""Seconds that the pieces at work have to save where the job is stopped."""

TRIES = 3
"""How often a piece is begun whose worker dies."""


def run_planned(
    session: Session, plan: Plan, home: Path, opened: Callable[[], Executor]
) -> Outcome:
    """Have an executor do what has not finished of a plan, and merge it into the session's store.

    The same plan again goes on where it stood.

    Args:
        home: of the pieces; every machine sees it under this path.
        opened: opens the executor.

    Raises:
        UsageError: the executor cannot be used.
        WorkError: no piece has finished.
        KeyboardInterrupt: Ctrl-C before any piece had finished.
    """
    before = merged_run(session.store, plan)
    if before is None or before.status != "finished":
        file = plan.folder(home) / PLAN_FILE
        write_plan(plan, file)
        executor = opened()
        session.display.note(f"plan '{file}': pieces 0 to {len(plan.pieces) - 1}")
        title, total = f"{len(plan.pieces)} pieces", len(plan.pieces)
        try:
            with session.display.begin(title, total, unit="pieces") as bar:
                _Drive(session, plan, home, executor, bar).through()
        finally:
            executor.close()
    try:
        return merge(session, plan, home)
    except UsageError as error:
        if session.control.signal == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise WorkError(str(error)) from None


@dataclass
class _Drive:
    """The pieces that wait, and those that an executor is at."""

    session: Session
    plan: Plan
    home: Path
    executor: Executor
    bar: Bar
    waiting: list[Piece] = field(init=False)
    at_work: dict[Piece, Task] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    """How often each piece was begun, by its number."""

    def __post_init__(self) -> None:
        self.waiting = list(self.plan.pieces)

    def through(self) -> None:
        """Come to the end of all pieces, or as far as it goes."""
        until = None
        while self.waiting or self.at_work:
            if until is None and self.session.control.training() == "stop":
                self.waiting.clear()
                for task in self.at_work.values():
                    task.stop()
                until = time.monotonic() + LEAVE_S
            if until is not None and time.monotonic() > until:
                return
            most = self.executor.at_once or len(self.plan.pieces)
            if self.waiting and len(self.at_work) < most:
                self._begin(self.waiting.pop(0))
            else:
                time.sleep(WAIT_S)
            for piece, task in list(self.at_work.items()):
                self._look(piece, task, stopping=until is not None)

    def _begin(self, piece: Piece) -> None:
        self.begun[piece.index] = self.begun.get(piece.index, 0) + 1
        try:
            self.at_work[piece] = self.executor.submit(task_of(self.plan, piece.index, self.home))
        except DiedError as error:
            self._died(piece, str(error), stopping=False)
        except (UsageError, WorkError) as error:
            self._ended(piece, str(error))

    def _look(self, piece: Piece, task: Task, *, stopping: bool) -> None:
        try:
            text = task.answer()
        except DiedError as error:
            del self.at_work[piece]
            self._died(piece, str(error), stopping=stopping)
            return
        except UsageError as error:
            del self.at_work[piece]
            self._ended(piece, str(error))
            return
        if text is None:
            return
        del self.at_work[piece]
        answer = json.loads(text)
        if answer["status"] == "stopped":  # by a queue's signal, if not by us
            self._died(piece, "was stopped", stopping=stopping or self._told_to_stop())
        else:
            self._ended(piece, answer["error"] if answer["status"] == "failed" else None)

    def _told_to_stop(self) -> bool:
        return self.session.control.training() == "stop"

    def _ended(self, piece: Piece, error: str | None) -> None:
        if error is not None:
            self.session.display.note(f"{piece.title}: {error}", "error")
        left = len(self.waiting) + len(self.at_work)
        self.bar.update(len(self.plan.pieces) - left)

    def _died(self, piece: Piece, reason: str, *, stopping: bool) -> None:
        again = not stopping and self.begun[piece.index] < TRIES
        if again:
            self.waiting.append(piece)
        if not stopping:
            then = "it is begun again" if again else f"it was begun {TRIES} times"
            self.session.display.note(f"{piece.title}: {reason}; {then}", "warning")
