"""Devices, memory, model servers, sandbox layers."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer, Header

from qllm.tui.reading.runs import RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen


class SystemScreen(LiveScreen):
    """Devices, memory, model servers, sandbox layers."""

    TITLE = "system"

    def compose(self) -> ComposeResult:
        """Header and footer."""
        yield Header()
        yield Footer()

    @property
    def query_now(self) -> Query:
        """What it shows."""
        return RunsQuery()

    def show(self, look: Look) -> None:
        """Show it."""
