"""The trainings of a run: one algorithm with one seed each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from qllm.text import rich_text
from qllm.tui.glyphs import status_text
from qllm.tui.reading.run import TrainingRow
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.tui.widgets.spark import sparkline
from qllm.units import count, number

_COLUMNS = (
    Column("algo", 6, grows=True),
    Column("seed", 4, right=True),
    Column("status", 10),
    Column("steps", 9, right=True),
    Column("last", 6, right=True),
    Column("curve", 10, from_width=56),
)


class TrainingsTable(RowList):
    """One row for each training."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's own name)
        super().__init__(_COLUMNS, _cells, id=id)
        self._shown: tuple[TrainingRow, ...] | None = None

    def show_trainings(self, rows: tuple[TrainingRow, ...]) -> None:
        """Show these; nothing is drawn again where nothing changed."""
        if rows != self._shown:
            self._shown = rows
            self.put([Row(row.id, row) for row in rows])


def _cells(row: TrainingRow, widths: Sequence[int]) -> list[Text]:
    return [
        rich_text(row.algo),
        Text("" if row.seed is None else str(row.seed)),
        status_text(row.status),
        Text(f"{count(row.env_steps)}/{count(row.total_steps)}"),
        Text(number(row.last) if row.last is not None else ""),
        Text(sparkline(row.curve, widths[5]) if widths[5] else "", style="cyan"),
    ]
