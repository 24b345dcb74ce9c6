"""The base of every screen that shows the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.widgets import Static

from qllm.text import rich_text

if TYPE_CHECKING:
    from qllm.tui.app import QllmApp
    from qllm.tui.reading.watch import Look, Query


class LiveScreen(Screen[None]):
    """Says what it wants to know, and is handed the answer whenever it changes.

    Screens never touch the store: a thread of the app reads it and posts what it found.
    """

    @property
    def qllm(self) -> QllmApp:
        """The app."""
        from qllm.tui.app import QllmApp

        assert isinstance(self.app, QllmApp)
        return self.app

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
