"""Writing a report from any screen: in a process of its own, with a line that says how it goes."""

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

_EVERY_S = 0.2
_SPARE = 24
"""Lines of a screen that has one to spare."""


class ReportLine(Static):
    """Says that a report is being written, and from then on where it is."""

    DEFAULT_CSS = "ReportLine { height: auto; max-height: 3; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self.path = ""
        """Where the report is; empty until it is written."""
        self.busy = False
        """Whether it is being written now."""


class ReportingScreen(LiveScreen):
    """A screen whose subject has a report; `REPORT_KEYS` belong among its bindings."""

    @property
    def report_words(self) -> Sequence[str]:
        """What stands after ``qllm report``: a run, or what is compared."""
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
        if not self.is_attached:
            return
        line = self._report_line()
        line.path = os.path.abspath(path)
        said = Text(f"report of {time.strftime('%d %b %H:%M', written)}: {safe(line.path)}")
        line.update(said.append("   W copies the path, w writes it again", style="dim"))

    def action_report(self) -> None:
        """Write the report as things stand, in a process of its own."""
        from qllm.errors import WorkError
        from qllm.tui.jobs import start_job

        line = self._report_line()
        if line.busy:
            return
        try:
            job = start_job(["report", *self.report_words], self.qllm.home)
        except WorkError as error:
            line.update(Text(f"no report: {safe(str(error))}", style="bold red"))
            return
        line.busy, line.path, began = True, "", time.monotonic()
        line.update(Text("writing the report …"))

        def look() -> None:
            ended = job.ended()
            if ended is not None:
                timer.stop()
                self._report_written(line, ended)
            elif line.is_attached:
                line.update(Text(f"writing the report … {duration(time.monotonic() - began)}"))

        # The app's own timer: one may leave the screen before the report is written.
        timer = self.app.set_interval(_EVERY_S, look)

    def _report_written(self, line: ReportLine, ended: Ended) -> None:
        line.busy = False
        last = ended.last[-1] if ended.last else ended.how
        if ended.well:
            line.path = os.path.abspath(last)
            said, style = f"report: {safe(line.path)}", "bold"
        else:
            said, style = f"no report: {one_line(last, 300)}", "bold red"
        if line.is_attached:
            text = Text(said, style=style)
            if ended.well:
                text.append("   W copies the path", style="not bold dim")
            line.update(text)
        if not self.is_current:
            self.app.notify(said, severity="information" if ended.well else "error", markup=False)

    def action_copy_report(self) -> None:
        """Copy the path of the report, over ssh, too: the terminal does it (OSC 52)."""
        line = next(iter(self.query(ReportLine)), None)
        if line is None or not line.path:
            self.notify("no report was written here yet: w writes one")
            return
        self.app.copy_to_clipboard(line.path)
        self.notify(line.path, title="copied", markup=False)

    def _report_line(self) -> ReportLine:
        found = next(iter(self.query(ReportLine)), None)
        if found is None:
            found = ReportLine()
            self.mount(found, before=self.query_one(KeyBar))
        return found
