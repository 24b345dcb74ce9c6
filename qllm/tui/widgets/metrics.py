"""The metrics of a training: names, newest values, and where each has been."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from qllm.text import rich_text
from qllm.tui.reading.series import Metric
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.tui.widgets.spark import sparkline
from qllm.units import number

_COLUMNS = (
    Column("metric", 14, grows=True),
    Column("newest", 9, right=True),
    Column("lowest", 9, right=True, from_width=64),
    Column("highest", 9, right=True, from_width=64),
    Column("curve", 12, from_width=40),
)


class MetricsGrid(RowList):
    """One row for each series."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's own name)
        super().__init__(_COLUMNS, _cells, id=id)
        self._shown: tuple[Metric, ...] | None = None

    def show_metrics(self, metrics: tuple[Metric, ...]) -> None:
        """Show these; nothing is drawn again where nothing changed."""
        if metrics != self._shown:
            self._shown = metrics
            self.put([Row(at, metric) for at, metric in enumerate(metrics)])


def _cells(metric: Metric, widths: Sequence[int]) -> list[Text]:
    return [
        rich_text(metric.name),
        Text(number(metric.last)),
        Text(number(metric.low)),
        Text(number(metric.high)),
        Text(sparkline(metric.curve, widths[4]) if widths[4] else "", style="cyan"),
    ]
