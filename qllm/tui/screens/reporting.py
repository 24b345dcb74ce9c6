"""Reports and curves of a screen: the report is written in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual.binding import Binding
from textual.widgets import Static

from qllm.jobs.reports import REPORT_FILE
from qllm.text import one_line, safe
from qllm.tui.screens.live import LiveScreen
from qllm.tui.widgets.bars import KeyBar
from qllm.tui.widgets.chart import Chart
from qllm.units import duration

if TYPE_CHECKING:
    from qllm.tui.jobs import Ended

REPORT_KEYS = (
    Binding("w", "report", "report", tooltip="write the report: one HTML file for a browser"),
    Binding(
        "W",
        "copy_report",
        "copy report's path",
        show=False,
        tooltip="the path of the report that w wrote",
    ),
)
"""Among the bindings of every `ReportingScreen`."""

CURVE_KEYS = (
    Binding("minus", "zoom(False)", "zoom out", show=False),
    Binding("left_square_bracket", "pan(False)", "pan left", show=False, key_display="["),
    Binding("right_square_bracket", "pan(True)", "pan right", show=False, key_display="]"),
    Binding("0", "reset", "whole curves", show=False),
)
"""Among the bindings of every `CurvesScreen`, which also has one for ``zoom(True)``."""

_SPARE = 24
"""Lines of a screen that has one to spare."""


class ReportingScreen(LiveScreen):
    """A screen whose subject has a report, with a line for the report's progress and path."""

    def __init__(self) -> None:
        super().__init__()
        self._report_path = ""
        """Where the report is; empty until it is written."""
        self._reporting_since: float | None = None
        """Start of the current writing, on the monotonic clock; ``None`` between writings."""

    @property
    def report_words(self) -> Sequence[str]:
        """Arguments of ``qllm report``: a run, or a comparison."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Say where a report is that was written before, where there is a line to spare."""
        words = self.report_words
        if len(words) == 1 and self.size.height >= _SPARE:
            look = partial(self._look_for_report, int(words[0]))
            self.run_worker(look, thread=True, group="report")

    def _look_for_report(self, run_id: int) -> None:
        from qllm.store.errors import StoreError
        from qllm.store.store import open_store

        try:
            with open_store(self.qllm.home, readonly=True) as store:
                path = store.run_dir(run_id) / REPORT_FILE
            written = time.localtime(path.stat().st_mtime)
        except (StoreError, OSError):
            return
        self.app.call_from_thread(self._tell_of_report, path, written)

    def _tell_of_report(self, path: Path, written: time.struct_time) -> None:
        self._report_path = os.path.abspath(path)
        said = f"report of {time.strftime('%d %b %H:%M', written)}: {safe(self._report_path)}"
        self._report_line(said, more="W copies the path, w writes it again")

    def action_report(self) -> None:
        if self._reporting_since is not None:
            return
        words = ("report", *self.report_words)
        # The app follows it: one may leave the screen before the report is written.
        if self.qllm.start_job(words, self._report_written, self._report_goes_on) is not None:
            self._report_path, self._reporting_since = "", time.monotonic()
            self._report_line("writing the report …")

    def _report_goes_on(self) -> None:
        took = time.monotonic() - (self._reporting_since or 0.0)
        self._report_line(f"writing the report … {duration(took)}")

    def _report_written(self, ended: Ended) -> None:
        self._reporting_since = None
        last = ended.last[-1] if ended.last else ended.how
        if ended.well:
            self._report_path = os.path.abspath(last)
            said = f"report: {safe(self._report_path)}"
            self._report_line(said, "bold", more="W copies the path")
        else:
            said = f"no report: {one_line(last, 300)}"
            self._report_line(said, "bold red")
        if not self.is_current:
            self.app.notify(said, severity="information" if ended.well else "error")

    def action_copy_report(self) -> None:
        if not self._report_path:
            self.notify("no report was written here yet: w writes one")
            return
        self.qllm.copy(self._report_path)

    def _report_line(self, said: str, style: str = "", *, more: str = "") -> None:
        text = Text(said, style=style)
        text.append(f"   {more}" if more else "", style="not bold dim")
        for line in self.query("#report").results(Static):
            line.update(text)
            return
        for bar in self.query(KeyBar):  # none where the screen is on its way out
            self.mount(Static(text, id="report", markup=False), before=bar)


class CurvesScreen(ReportingScreen):
    """A screen with a chart; its keys are the same wherever the focus is."""

    def action_zoom(self, closer: bool) -> None:
        self.query_one(Chart).zoom(closer)

    def action_pan(self, right: bool) -> None:
        self.query_one(Chart).pan(right)

    def action_reset(self) -> None:
        self.query_one(Chart).reset()
