"""All runs, live."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Header, Static

from qllm.tui.glyphs import status_text
from qllm.tui.reading.runs import RunRow, RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.units import count, duration


class RunsScreen(LiveScreen):
    """The first screen."""

    TITLE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "open")]

    def compose(self) -> ComposeResult:
        """Header, table, a line for problems, footer."""
        yield Header()
        yield Static(id="notice", markup=False)
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Lay the columns out."""
        table = self.query_one(DataTable)
        for key in ("run", "status", "kind", "task", "algo", "steps", "rate", "time"):
            table.add_column(key, key=key)

    @property
    def query_now(self) -> Query:
        """The newest runs."""
        return RunsQuery()

    def show(self, look: Look) -> None:
        """Update the rows that changed; rows are never cleared and filled again."""
        notice = self.query_one("#notice", Static)
        notice.display = bool(look.problem) or look.data == ()
        if look.problem:
            notice.update(look.problem)
            return
        rows: tuple[RunRow, ...] = look.data
        if not rows:
            notice.update("no runs yet: press n to start one")
        table = self.query_one(DataTable)
        known = {key.value for key in table.rows}
        for row in reversed(rows):
            cells = _cells(row)
            if str(row.id) not in known:
                table.add_row(*cells.values(), key=str(row.id))
                continue
            for column, cell in cells.items():
                if table.get_cell(str(row.id), column) != cell:
                    table.update_cell(str(row.id), column, cell)


def _cells(row: RunRow) -> dict[str, object]:
    return {
        "run": str(row.id),
        "status": status_text(row.status),
        "kind": row.kind,
        "task": row.task,
        "algo": row.algo,
        "steps": f"{count(row.env_steps)}/{count(row.total_steps)}",
        "rate": f"{count(row.rate)}/s" if row.rate else "",
        "time": duration(row.elapsed_s),
    }
