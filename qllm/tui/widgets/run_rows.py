"""Rows of runs, of a run's trainings and of a training's metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from qllm.facts.progress import SearchProgress
from qllm.store.numbers import run_name
from qllm.text import rich_text
from qllm.tui.glyphs import status_text
from qllm.tui.reading.runs import Returns, RunRow
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.units import count, duration, number

if TYPE_CHECKING:  # which open the store, and are not to be there before the first picture
    from qllm.tui.reading.run import TrainingRow
    from qllm.tui.reading.series import Metric

COLUMNS = (
    Column("run", 6, right=True),
    Column("status", 10),
    Column("kind", 7, from_width=78),
    Column("task", 14, grows=True),
    Column("algo", 9, grows=True),
    Column("steps", 11, right=True, from_width=66),
    Column("rate", 7, right=True, from_width=112),
    Column("last", 6, right=True),
    Column("best", 6, right=True, from_width=74),
    Column("curve", 10, from_width=102),
    Column("left/took", 9, right=True, from_width=91),
    Column("began", 6, right=True, from_width=118),
)

_STEPS, _BEST, _CURVE = 5, 8, 9

_YEAR_S = 360 * 86_400
"""From which age on a day without its year would be taken for one of this year."""


def cells(row: RunRow, widths: Sequence[int]) -> list[Text]:
    """One cell for each column."""
    told = row.returns or Returns()
    search = told.search
    last, best = number(told.last) if told.last is not None else "", ""
    if told.best is not None:
        best = number(told.best)
    curve = Text(sparkline(told.curve, widths[_CURVE]) if widths[_CURVE] else "", style="cyan")
    steps, names = _steps(row), ", ".join(algos(row))
    if search is not None:
        # Returns of pilot trainings are no returns of the run: the word stands beside the number.
        found = search.best is not None and widths[_BEST]
        last, best = ("pilot", number(search.best)) if found else ("", "")
        steps = _rounds(search) if widths[_CURVE] else f"{_rounds(search, '')} {_replies(search)}"
        curve = Text(_replies(search))
        if not widths[_STEPS] and not names:
            names = steps
    return [
        _name(row),
        status_text(row.status),
        rich_text(row.kind),
        rich_text(row.task if row.parent is None else f"  seed {row.seed}"),
        rich_text(names),
        Text(steps),
        Text(f"{count(row.rate)}/s" if row.rate else ""),
        Text(last),
        Text(best),
        curve,
        Text(_time(row)),
        Text(began(row.began)),
    ]


def algos(row: RunRow) -> tuple[str, ...]:
    """Its algorithms; the one of the row's numbers first."""
    shown = row.returns.algo if row.returns else ""
    several = row.algos or ((row.algo,) if row.algo else ())
    return (shown, *(algo for algo in several if algo != shown)) if shown else several


def began(when: float | None) -> str:
    """The time of a start of today, else the day, else the year."""
    if when is None:
        return ""
    now = time.time()
    then = time.localtime(when)
    if then[:3] == time.localtime(now)[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%b %d" if now - when < _YEAR_S else "%Y", then)


def elapsed(seconds: float) -> str:
    """Running time, in whole seconds."""
    return f"{seconds:.0f} s" if seconds < 60 else duration(seconds)


def _name(row: RunRow) -> Text:
    if row.parent is not None:
        return Text(f"└{run_name(row.id):>4}")
    fold = " " if not row.trainings else "▾" if row.opened else "▸"
    return Text(f"{fold}{run_name(row.id):>5}")


def _steps(row: RunRow) -> str:
    if not row.total_steps:
        return ""
    if row.status == "finished" and row.env_steps == row.total_steps:
        return count(row.env_steps)
    return f"{count(row.env_steps)}/{count(row.total_steps)}"


def search_facts(search: SearchProgress) -> list[Text]:
    """How far a search is and what it found, in phrases."""
    facts = [
        Text(f"round {search.round} of {search.rounds}", "bold"),
        Text(f"✓ {search.accepted} accepted", "green"),
    ]
    if search.same:
        facts.append(Text(f"= {search.same} the same as earlier ones", "yellow"))
    facts.append(Text(f"✗ {search.refused} rejected", "red"))
    if search.best is not None:
        best = f"best pilot return {number(search.best)} after {count(search.best_steps)} steps"
        if search.plain_sum is not None:
            best += f" (plain sum, VDN: {number(search.plain_sum)})"
        facts.append(Text(best))
    return facts


def _rounds(search: SearchProgress, word: str = "round ") -> str:
    return f"{word}{search.round}/{search.rounds}"


def _replies(search: SearchProgress) -> str:
    return f"✓{search.accepted + search.same} ✗{search.refused}"


def _time(row: RunRow) -> str:
    """Remaining time while it runs, total time once it has ended."""
    if row.status in ("running", "paused", "queued"):
        return duration(row.left_s) if row.left_s is not None else ""
    if row.elapsed_s is None:
        return ""
    # Between the attempts of one that was resumed nothing ran, for nobody knows how long.
    return f"{'≤' if row.attempt > 1 else ''}{duration(row.elapsed_s)}"


_TRAININGS = (
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
        super().__init__(_TRAININGS, _training_cells, id=id)

    def show_trainings(self, rows: Sequence[TrainingRow]) -> None:
        self.put([Row(row.id, row) for row in rows])


def _training_cells(row: TrainingRow, widths: Sequence[int]) -> list[Text]:
    return [
        rich_text(row.algo),
        Text("" if row.seed is None else str(row.seed)),
        status_text(row.status),
        Text(f"{count(row.env_steps)}/{count(row.total_steps)}"),
        Text(number(row.last) if row.last is not None else ""),
        Text(sparkline(row.curve, widths[5]) if widths[5] else "", style="cyan"),
    ]


_METRICS = (
    Column("metric", 14, grows=True),
    Column("newest", 9, right=True),
    Column("lowest", 9, right=True, from_width=64),
    Column("highest", 9, right=True, from_width=64),
    Column("curve", 12, from_width=40),
)


class MetricsGrid(RowList):
    """One row for each series."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's own name)
        super().__init__(_METRICS, _metric_cells, id=id)

    def show_metrics(self, metrics: Sequence[Metric]) -> None:
        self.put([Row(at, metric) for at, metric in enumerate(metrics)])


def _metric_cells(metric: Metric, widths: Sequence[int]) -> list[Text]:
    return [
        rich_text(metric.name),
        Text(number(metric.last)),
        Text(number(metric.low)),
        Text(number(metric.high)),
        Text(sparkline(metric.curve, widths[4]) if widths[4] else "", style="cyan"),
    ]


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """``values`` as at most ``width`` bars between their own lowest and highest.

    What is not finite leaves a gap. More values than bars are averaged in even groups.
    """
    cells = [_mean(group) for group in _groups(values, width)]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = high - low or 1.0
    top = len(_BARS) - 1
    flat = high == low
    return "".join(
        " " if cell is None else _BARS[3 if flat else round((cell - low) / span * top)]
        for cell in cells
    )


def _groups(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    count = len(values)
    if count <= width:
        return [values[k : k + 1] for k in range(count)]
    return [values[k * count // width : (k + 1) * count // width] for k in range(width)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
