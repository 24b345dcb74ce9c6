"""The base of every screen that shows the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from textual.events import ScreenResume
from textual.screen import Screen
from textual.widgets import Static

from qllm.text import rich_text

if TYPE_CHECKING:
    from qllm.tui.control import Asked
    from qllm.tui.reading.watch import Look, Query


class Host(Protocol):
    """What the app does for its screens (`qllm.tui.app.QllmApp`)."""

    home: Path | None
    """The folder of the runs; None for the usual one."""
    frozen: bool
    """Whether the display stands still."""

    def size_classes(self) -> str:
        """The classes of a screen for the terminal's size."""

    def action_freeze(self) -> None:
        """Stop or continue showing what changes."""

    def action_up(self) -> None:
        """To the screen below."""

    def open_run(self, run_id: int, kind: str) -> None:
        """Show one run."""

    def open_candidate(self, candidate_id: int) -> None:
        """Show one candidate."""

    def open_comparison(self, run_ids: tuple[int, ...]) -> None:
        """Show runs side by side."""

    def ask_to_stop(self, runs: Sequence[tuple[int, str]], named: str = "") -> None:
        """Stop runs, given with their states, once a person has said yes."""

    def ask_jobs(self, run_ids: Sequence[int], what: Asked) -> None:
        """Send a request to jobs."""

    def resume_run(self, run_id: int, status: str) -> None:
        """Go on with a run."""

    def refresh_now(self) -> None:
        """Look at the store now."""


class LiveScreen(Screen[None]):
    """Says what it wants to know, and is handed the answer whenever it changes.

    Screens never touch the store: a thread of the app reads it and posts what it found.

    Textual styles every widget of a new screen three times: when it is mounted, when the screen is
    shown, and when the terminal's size has given the screen its classes. Here it is once.
    """

    def __init__(self) -> None:
        super().__init__(classes=self.qllm.size_classes())
        self._shown = False

    def on_screen_resume(self, event: ScreenResume) -> None:
        """Leave out the styling of what has just been mounted."""
        if not self._shown:
            event.refresh_styles = False
        self._shown = True

    @property
    def qllm(self) -> Host:
        """The app."""
        return cast(Host, self.app)

    @property
    def query_now(self) -> Query:
        """What this screen wants to know at the moment."""
        raise NotImplementedError

    def answered(self, look: Look) -> bool:
        """Whether there is data to show. A problem is shown here, in the screen's ``#notice``."""
        notices = self.query("#notice").results(Static)
        notice = next(iter(notices), None)
        if notice is None:
            return False  # the screen is on its way out, and its parts are gone
        notice.display = bool(look.problem)
        if look.problem:
            notice.update(rich_text(look.problem))
        return not look.problem

    def show(self, look: Look) -> None:
        """Show an answer to ``query_now``: its data, or its problem."""
        raise NotImplementedError
