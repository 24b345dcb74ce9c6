"""Session of a job: the store, a display, control, and the beginning and end of its runs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qllm.display import Display
from qllm.errors import WorkError
from qllm.executors.base import ExecutorChoice
from qllm.jobs.job_control import JobControl, heartbeat
from qllm.jobs.sandboxes import Sandboxes
from qllm.signals import caught_signals
from qllm.store.errors import StoreAwayError, StoreError, redact
from qllm.store.numbers import run_name
from qllm.store.outage import Outage
from qllm.store.store import Store, open_store

FinalStatus = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """The end of a job."""

    run_id: int
    status: FinalStatus
    document: dict[str, Any]
    """The document that ``--json`` prints."""
    error: str | None = None
    signal: int | None = None
    """The signal that stopped it."""


@dataclass
class Session:
    """The parts that a job works with."""

    store: Store
    display: Display
    control: JobControl
    command: str
    """The command line, without secrets."""
    began: list[int] = field(default_factory=list)
    """Runs that this job has begun, the outermost first."""
    sandboxes: Sandboxes = field(default_factory=Sandboxes)
    executor: ExecutorChoice | None = None
    """Where pilots and trainings are done, if not by this job and its processes."""
    noticed: set[str] = field(default_factory=set)
    """Notices of trainings so far, so that each is shown once for all of them."""
    evaluated: Callable[[], None] = lambda: None
    """Called when the store has a new evaluation of a training of this process."""

    def notice(self, about: str, text: str) -> None:
        """Show a training's notice, once for all trainings."""
        if about not in self.noticed:
            self.noticed.add(about)
            self.display.note(text, "warning")

    @contextmanager
    def working(self, run_id: int, *, resumed_at: int = 0) -> Iterator[int]:
        """Work on a run: begins an attempt (yields its number), and records a failure.

        Whoever finishes the run records how; this only sees to it that no way out leaves it
        running.

        Raises:
            WorkError: whatever went wrong, in one line that names the run.
            StoreAwayError: the database server stayed away.
        """
        attempt = self.store.runs.begin(run_id, resumed_at=resumed_at)
        self.began.append(run_id)
        with self.control.watching(run_id):
            try:
                yield attempt
            except KeyboardInterrupt:
                self._end(run_id, "stopped", "interrupted")
                raise
            except WorkError as error:
                self._end(run_id, "failed", str(error))
                raise
            except StoreAwayError:
                raise  # nobody can record it: a run without its process has died, and resumes
            except _expected() as error:
                self._end(run_id, "failed", str(error))
                raise WorkError(str(error), run_id) from error
            except BaseException as error:
                self._end(run_id, "failed", f"{type(error).__name__}: {error}")
                raise

    def wait(self, waits: Callable[[], str | None], timeout_s: float) -> None:
        """Wait until nothing is to be waited for any more, the job is stopped, or time is up.

        Args:
            waits: what is waited for, in words that are shown once; None: for nothing.
        """
        until, said = time.monotonic() + timeout_s, False
        while (words := waits()) and self.control() != "stop" and time.monotonic() < until:
            if not said:
                self.display.note(words)
                said = True
            time.sleep(0.1)

    def _end(self, run_id: int, status: Literal["stopped", "failed"], error: str) -> None:
        try:
            self.store.runs.finish(run_id, status, error=error)
        except StoreError as problem:
            self.display.note(
                f"run {run_name(run_id)} could not be marked as {status}: {problem}", "warning"
            )


def _expected() -> tuple[type[Exception], ...]:
    """Errors whose message is complete for a user."""
    from marl.errors import SettingsError, TrainingError
    from models.protocol import ModelError
    from prompts.cards import CardError
    from prompts.render import PromptError

    return (SettingsError, TrainingError, ModelError, CardError, PromptError, StoreError)


@contextmanager
def open_session(
    home: Path | None, display: Display, arguments: Sequence[str]
) -> Iterator[Session]:
    """Open the store for a job, with signals caught and a heartbeat.

    Args:
        arguments: the words after ``qllm`` on the command line.

    Raises:
        StoreError: the store cannot be used.
    """
    with open_store(home) as store, session_over(store, display, arguments) as session:
        yield session


@contextmanager
def session_over(store: Store, display: Display, arguments: Sequence[str]) -> Iterator[Session]:
    """`open_session` with a store that is open, and stays so."""
    control = JobControl(store)
    store.database.outage = Outage(lambda words: display.note(words, "warning"))
    command = redact(shlex.join(["qllm", *arguments]))
    with (
        caught_signals(control, display.note),
        heartbeat(store, control),
        closing(Sandboxes(display.note)) as sandboxes,
    ):
        yield Session(store, display, control, command, sandboxes=sandboxes)
    for words in store.database.damage_in_words():
        display.note(words, "warning")
