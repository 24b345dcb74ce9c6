"""Requests of the app to jobs, sent through the store, and jobs that the app starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import App

from qllm.errors import WorkError
from qllm.store.numbers import run_name
from qllm.store.states import ACTIVE
from qllm.tui.jobs import Ended, StartedJob, start_job

if TYPE_CHECKING:
    from qllm.store.commands import CommandName

_FOLLOW_S = 0.2
"""How often a started job is looked at."""

_DONE: dict[CommandName, str] = {
    "pause": "is asked to pause: it finishes the step that it is in",
    "resume": "is asked to go on",
    "stop": "is asked to stop: it saves a checkpoint first",
    "stop-after-round": "is asked to stop after this round",
    "approve": "is told that its proposal is approved",
    "reject": "is told that its proposal is rejected",
}


class ControllingApp(App[None]):
    """An app that steers jobs.

    Args:
        home: the folder of the runs; None for the usual one.
    """

    def __init__(self, home: Path | None = None) -> None:
        super().__init__()
        self.home = home

    def notify(self, message: str, *, markup: bool = False, **more: Any) -> None:
        """Show a notification; text in it is never markup."""
        super().notify(message, markup=False, **more)

    def copy(self, text: str, what: str = "") -> None:
        """Copy through the terminal (OSC 52), also over ssh; notify of ``what`` or the text."""
        self.copy_to_clipboard(text)
        self.notify(what or text, title="copied")

    def refresh_now(self) -> None:
        """Look at the store now."""
        raise NotImplementedError

    def ask_to_stop(self, runs: Sequence[tuple[int, str]], named: str = "", more: str = "") -> None:
        """Stop runs, given with their states, after confirmation.

        Args:
            named: those that are at work, as the question names them.
            more: what stopping means, for those of which there is more to say.
        """
        from qllm.tui.screens.questions import AskScreen

        going = [run_id for run_id, status in runs if status in ACTIVE]
        ended = ", ".join(f"run {i} is {state}" for i, state in runs if i not in going)
        if not going:
            self.notify(f"{ended}: nothing to stop")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.ask_jobs(going, "stop")

        names = named or f"run{'s' if len(going) > 1 else ''} {', '.join(map(run_name, going))}"
        saved = "They save checkpoints" if len(going) > 1 else "It saves a checkpoint"
        saved += f" first ({ended})." if ended else " first."
        question = f"Stop {names}?\n\n{more}" if more else f"Stop {names}? {saved}"
        self.push_screen(AskScreen(question, "stop"), answered)

    def ask_jobs(
        self,
        run_ids: Sequence[int],
        what: CommandName,
        payload: Mapping[str, object] | None = None,
    ) -> None:
        """Send a request to jobs, and show the outcome."""

        def work() -> None:
            for line, well in _sent(self.home, run_ids, what, payload):
                severity = "information" if well else "warning"
                self.call_from_thread(self.notify, line, severity=severity)
            self.call_from_thread(self.refresh_now)

        self.run_worker(work, thread=True, group="jobs")

    def resume_run(self, run_id: int, status: str) -> None:
        """Resume a run: by a command if it is paused, else in a new process."""
        if status == "paused":
            self.ask_jobs([run_id], "resume")
            return
        if status in ("running", "finished"):
            self.notify(f"run {run_id} is {status}: nothing to resume")
            return

        job = self.start_job(("resume", str(run_id)))
        if job is not None:
            said = f"{job.command} (process {job.pid}, prints to {job.log})"
            self.notify(said, title=f"run {run_id} goes on")

    def start_job(
        self,
        words: Sequence[str],
        ended: Callable[[Ended], object] | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> StartedJob | None:
        """Start a command of ``qllm``, or tell why it cannot be started.

        Args:
            ended: called when it has ended, whatever is on the screen by then.
            meanwhile: called several times a second until then.
        """
        try:
            job = start_job(words, self.home)
        except WorkError as error:
            self.notify(str(error), severity="error")
            return None

        if ended is None:
            return job

        def look() -> None:
            found = job.ended()
            if found is not None:
                timer.stop()
                ended(found)
            elif meanwhile is not None:
                meanwhile()

        timer = self.set_interval(_FOLLOW_S, look)
        return job


def _sent(
    home: Path | None,
    run_ids: Sequence[int],
    what: CommandName,
    payload: Mapping[str, object] | None = None,
) -> list[tuple[str, bool]]:
    """Ask jobs for something.

    Returns:
        What came of it, a line and whether it went well for each run. Runs that no living process
        works on are told apart, since nobody would ever read the request.
    """
    from qllm.store.errors import StoreError
    from qllm.store.runs import derived_status
    from qllm.store.store import open_store

    told: list[tuple[str, bool]] = []
    try:
        with open_store(home) as store:
            for run_id in run_ids:
                status = derived_status(store.runs.get(run_id))
                if status in ACTIVE:
                    store.commands.send(run_id, what, payload)
                    told.append((f"run {run_name(run_id)} {_DONE[what]}", True))
                else:
                    told.append((f"run {run_name(run_id)} is {status}: nobody works on it", False))
    except StoreError as error:
        told.append((str(error), False))
    return told
