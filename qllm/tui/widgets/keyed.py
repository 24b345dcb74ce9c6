"""Updating a table by key, so that its cursor and scroll position stay."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual.widgets import DataTable


def update_rows(table: DataTable[Text], rows: Mapping[str, Mapping[str, Text]]) -> None:
    """Make a table hold these rows: by row key, the cells by column key, in the columns' order."""
    known = {str(key.value) for key in table.rows}
    for gone in known - set(rows):
        table.remove_row(gone)
    for key, cells in rows.items():
        if key not in known:
            table.add_row(*cells.values(), key=key)
            continue
        for column, cell in cells.items():
            if table.get_cell(key, column) != cell:
                table.update_cell(key, column, cell, update_width=True)


def key_under_cursor(table: DataTable[Text]) -> str | None:
    """The key of the row that the cursor is on; ``None`` in an empty table."""
    if not table.row_count:
        return None
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value
