"""One search: conversation, candidates, evaluator, gate."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer, Header

from qllm.tui.reading.runs import RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen


class SynthesisScreen(LiveScreen):
    """One search: conversation, candidates, evaluator, gate."""

    TITLE = "synthesis"

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self.run_id = run_id

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
