"""Plain aligned columns, for listings on stdout."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from qllm.output import echo
from qllm.text import one_line


def print_columns(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Print rows under their headers; the last column is cut where the terminal ends.

    Args:
        right: headers of the columns that are aligned to the right.
    """
    cells = [[one_line("-" if cell is None else str(cell), 500) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    room = shutil.get_terminal_size((100, 24)).columns
    for line in [list(headers), *cells]:
        words = [
            word.rjust(width) if header in right else word.ljust(width)
            for word, width, header in zip(line, widths, headers, strict=True)
        ]
        text = "  ".join(words).rstrip()
        echo(text if len(text) <= room else text[: room - 1] + "…")
