"""Several runs side by side."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer, Header

from qllm.tui.reading.runs import RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen


class CompareScreen(LiveScreen):
    """Several runs side by side."""

    TITLE = "compare"

    def __init__(self, run_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids

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
