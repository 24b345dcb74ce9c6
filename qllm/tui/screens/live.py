"""The base of every screen that shows the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

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

    def show(self, look: Look) -> None:
        """Show an answer to ``query_now``: its data, or its problem."""
        raise NotImplementedError
