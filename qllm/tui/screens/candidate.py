"""One candidate: properties, certificate, mathematics, credit weights."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer, Header

from qllm.tui.reading.runs import RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen


class CandidateScreen(LiveScreen):
    """One candidate: properties, certificate, mathematics, credit weights."""

    TITLE = "candidate"

    def __init__(self, candidate_id: int) -> None:
        super().__init__()
        self.candidate_id = candidate_id

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
