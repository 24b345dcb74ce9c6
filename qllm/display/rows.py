"""The result table: its columns, cells and notes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from qllm.display.streams import encodable
from qllm.facts.differences import difference_words, differences, scores_by_algorithm
from qllm.text import one_line
from qllm.units import ABSENT, count, duration, interval, number

Row = Mapping[str, Any]
"""One row of ``qllm train`` or ``qllm compare``, with the keys of their JSON."""


_NAME, _LABEL = 12, 28
"""Characters of an algorithm's name, and of a variant's label."""


@dataclass(frozen=True)
class TableText:
    """A result table as text, before any drawing."""

    headers: tuple[str, ...]
    numeric: tuple[bool, ...]
    cells: tuple[tuple[str, ...], ...]
    aggregate: tuple[bool, ...]
    """Whether a row summarises an algorithm over its seeds, for each row."""
    notes: tuple[str, ...]


def metrics_of(rows: Sequence[Row]) -> list[str]:
    """Names of the cards' metrics that the rows have."""
    return list(dict.fromkeys(name for row in rows for name in row.get("metrics", ())))


def layout(rows: Sequence[Row]) -> TableText:
    """Columns of train and compare rows, in the order in which a reader compares them.

    Where the card has metrics, they come before the returns, which are then told by their mean
    alone. The task's column appears only when there are several tasks, that of the pilots only when
    some row had pilots or does not say. The columns fit 80 characters: where a variant's label is
    longer than an algorithm's name, those of speed and size make room for it.
    """
    long = any(len(str(row.get("algo"))) > _NAME for row in rows)
    pilots = any(row.get("pilot_steps", 0) != 0 for row in rows)
    metrics = metrics_of(rows)
    columns: list[tuple[str, Callable[[Row], str]]] = []
    if len({str(row.get("task")) for row in rows}) > 1:
        columns.append(("task", _of("task", _words)))
    columns += [
        ("algo", _of("algo", lambda value: _words(value, _LABEL if long else _NAME))),
        ("seed", _of("seed", lambda value: "all" if value is None else _words(value, 12))),
    ]
    for name in metrics:
        columns += [
            (one_line(name, 16), _of(f"{name}_mean", number)),
            ("95% of it", _of(f"{name}_mean_ci", interval)),
        ]
    columns += [
        ("return" if metrics else "mean", _of("return_mean", number)),
        ("95% of mean", _of("return_mean_ci", interval)),
        ("IQM", lambda row: number(row.get("return_iqm")) if row.get("seed") is None else ""),
        ("steps", _of("env_steps", count)),
        ("steps/s", _of("env_steps_per_s", count)),
        ("params", _of("learnable_parameters", count)),
        ("pilots", lambda row: count(row.get("pilot_steps", 0))),
        ("time", _of("wall_s", duration)),
    ]
    hidden = {"IQM", "params"} if metrics else set()
    hidden |= {"params", "steps/s"} if long else set()
    shown = [c for c in columns if c[0] not in hidden and (c[0] != "pilots" or pilots)]
    return TableText(
        headers=tuple(header for header, _ in shown),
        numeric=tuple(header not in ("task", "algo", "seed") for header, _ in shown),
        cells=tuple(tuple(cell(row) for _, cell in shown) for row in rows),
        aggregate=tuple(row.get("seed") is None for row in rows),
        notes=_notes(rows, pilots),
    )


def _of(key: str, show: Callable[[Any], str]) -> Callable[[Row], str]:
    return lambda row: show(row.get(key))


def _words(value: object, limit: int = 24) -> str:
    return ABSENT if value is None else one_line(str(value), limit)


def _notes(rows: Sequence[Row], pilots: bool) -> tuple[str, ...]:
    over = {
        "an aggregate's" if row.get("seed") is None else "a seed's": str(row["return_ci_over"])
        for row in rows
        if row.get("return_ci_over")
    }
    notes = [
        "mean: return of the team in the last evaluation, of a seed over its episodes, of all over"
        " the seeds' means; IQM: interquartile mean over seeds."
    ]
    if over:
        notes.append("t intervals: " + ", ".join(f"{k} is over {v}" for k, v in over.items()) + ".")
    notes += _differences(rows)
    if pilots:
        unknown = any(row.get("pilot_steps", 0) is None for row in rows)
        dash = f" ({ABSENT}: not recorded)" if unknown else ""
        notes.append(f"pilots: environment steps spent on choosing, on top of steps{dash}.")
    return tuple(one_line(note, 300) for note in notes)


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    """Of every task its algorithms' paired differences, in words."""
    for task in dict.fromkeys(str(row.get("task")) for row in rows):
        scores = scores_by_algorithm(
            (str(r["algo"]), r.get("seed"), r.get("return_mean"), str(r.get("status", "finished")))
            for r in rows
            if str(r.get("task")) == task
        )
        reference, found = differences(scores)
        for algo, difference in found:
            yield difference_words(algo, reference, difference)


def write_table(stream: TextIO, rows: Sequence[Row], *, title: str | None, colour: bool) -> None:
    """Draw the table to ``stream``, at the terminal's width (80 where there is none)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    what = layout(rows)
    tty = stream.isatty()
    drawn = io.StringIO()
    # Drawn into memory first: a terminal that lacks a character must not lose the whole table.
    console = Console(
        file=drawn,
        force_terminal=tty and colour,
        color_system="auto" if tty and colour else None,
        width=None if tty else int(os.environ.get("COLUMNS", "") or 80),
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    widths = [max(map(len, column)) for column in zip(what.headers, *what.cells, strict=True)]
    roomy = sum(widths) + 2 * (len(widths) - 1) <= console.width
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1 if roomy else 0, 0, 0),
        show_edge=False,
        title=Text(one_line(title, 120)) if title else None,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        pad_edge=False,
    )
    for header, numeric in zip(what.headers, what.numeric, strict=True):
        table.add_column(header, justify="right" if numeric else "left", no_wrap=True)
    for cells, aggregate in zip(what.cells, what.aggregate, strict=True):
        table.add_row(*(Text(cell) for cell in cells), style="bold" if aggregate else "")
    console.print(table)
    for note in what.notes:
        console.print(Text(note, style="dim"))
    stream.write(encodable(drawn.getvalue(), getattr(stream, "encoding", None) or "utf-8"))
    stream.flush()
