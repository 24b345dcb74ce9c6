"""Records as CSV and as JSON lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from qllm.drafts import drafted
from qllm.export.records import Record
from qllm.json_text import encode_json, finite


def write_csv(path: Path, fields: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table with a header; an empty cell stands for None, NaN and the infinities.

    Raises:
        OSError: it cannot be written.
    """
    with drafted(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(finite(record) for record in records)


def write_json_lines(path: Path, records: Iterable[Record]) -> None:
    """Write a line of strict JSON for each record; null stands for NaN and the infinities.

    Raises:
        OSError: it cannot be written.
    """
    with drafted(path) as draft, draft.open("w", encoding="utf-8") as file:
        append_json_lines(file, records)


def append_json_lines(file: TextIO, records: Iterable[Record]) -> None:
    """The same on a file that is open already."""
    file.writelines(encode_json(record) + "\n" for record in records)


def flat(row: Record) -> Record:
    """A result row for a table: an interval becomes two columns, ``..._low`` and ``..._high``."""
    out: dict[str, Any] = {}
    for key, value in row.items():
        if key.endswith("_ci"):
            out[f"{key}_low"], out[f"{key}_high"] = value or (None, None)
        else:
            out[key] = value
    return out
