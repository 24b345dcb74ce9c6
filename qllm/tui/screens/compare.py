"""Several runs side by side."""

from __future__ import annotations

from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable, Static
from textual_plot import HiResMode

from qllm.report.compared import Comparison, Entry
from qllm.text import one_line, rich_text
from qllm.tui.reading.compare import CompareQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.keyed import key_under_cursor, update_rows
from qllm.tui.widgets.plot import Plot
from qllm.units import ABSENT, count, interval, number

_COLOURS = ("#4fb8f0", "#f0a03c", "#58c98b", "#e06c9f", "#c9c24a", "#a98bf0")
_MARKS = "●■▲◆▼✚"
"""Curves are told apart by colour and by the mark that stands at their ends."""

_BAND_HEIGHT = 12
"""In lower plots the intervals would hide the curves."""

_COLUMNS = {
    "entry": "run",
    "seeds": "seeds",
    "iqm": "IQM",
    "ci": "95%",
    "difference": "difference",
    "difference_ci": "95%",
    "mean": "mean",
    "mean_ci": "95%",
    "steps": "steps",
    "status": "status",
}


class CompareScreen(LiveScreen):
    """Several runs side by side.

    Args:
        run_ids: in the order in which they are shown.
    """

    TITLE = "compare"
    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open run"),
        Binding("r", "reference", "as reference"),
        Binding("c", "settings", "settings/curves"),
        Binding("w", "report", "write report"),
    ]

    def __init__(self, run_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.run_ids = run_ids
        self.shown: Comparison | None = None
        self._reference: str | None = None

    def compose(self) -> ComposeResult:
        """Curves or settings above, the table below."""
        yield TitleBar()
        yield Static("reading …", id="notice", markup=False)
        with Vertical(id="body"):
            yield Plot(id="plot")
            yield Static("", id="legend-line", markup=False)
            yield DataTable(id="settings", cursor_type="row", zebra_stripes=True)
            yield DataTable(id="entries", cursor_type="row", zebra_stripes=True)
            yield Static("", id="words", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        """Lay the columns out."""
        table = self.query_one("#entries", DataTable)
        for key, title in _COLUMNS.items():
            table.add_column(title, key=key)
        settings = self.query_one("#settings", DataTable)
        settings.add_column("setting", key="path")
        for run_id in dict.fromkeys(self.run_ids):
            settings.add_column(f"#{run_id}", key=str(run_id))
        plot = self.query_one(Plot)
        plot.can_focus = False
        plot.margin_top, plot.margin_bottom, plot.margin_left = 0, 2, 8
        table.focus()

    @property
    def query_now(self) -> Query:
        """These runs."""
        return CompareQuery(self.run_ids, self._reference)

    def show(self, look: Look) -> None:
        """Update the curves and the cells that changed."""
        if not self.answered(look):
            return
        before, now = self.shown, look.data
        assert isinstance(now, Comparison)
        if before == now:
            return
        self.shown = now
        self._show_entries(now)
        self._show_settings(now)
        if before is None or before.curves != now.curves:
            self._draw(now)
        tasks = ", ".join(dict.fromkeys(run.task for run in now.runs))
        self.sub_title = one_line(f"{len(now.runs)} runs on {tasks}", 80)
        self.query_one("#words", Static).update(rich_text(" ".join(now.notes)))

    def _draw(self, now: Comparison) -> None:
        plot = self.query_one(Plot)
        plot.clear()
        legend = Text()
        drawn = [e for e in now.entries if e.curve is not None and e.curve.steps]
        room = plot.size.height >= _BAND_HEIGHT
        marks = []
        for place, entry in enumerate(drawn):
            curve = entry.curve
            assert curve is not None
            colour, mark = _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]
            for side in (curve.low, curve.high) if room else ():
                if side is not None:
                    plot.plot(curve.steps, side, f"{colour} dim", HiResMode.BRAILLE)
            plot.plot(curve.steps, curve.centre, colour, HiResMode.BRAILLE)
            # Each at another place, so that the marks of equal curves are all seen.
            at = (place + 1) * len(curve.steps) // (len(drawn) + 1)
            marks.append((curve.steps[at], curve.centre[at], mark, f"bold {colour}"))
            legend.append(f"{mark} {entry.label}   ", style=colour)
        for x, y, mark, style in marks:  # above all lines
            plot.scatter([x], [y], mark, style)
        plot.set_xlabel("environment steps")
        if drawn:
            legend.append("faint: ends of the 95% interval" if room else "", style="dim")
        else:
            legend.append("no curves yet: nothing has been evaluated", style="dim")
        self.query_one("#legend-line", Static).update(legend)

    def _show_entries(self, now: Comparison) -> None:
        table = self.query_one("#entries", DataTable)
        update_rows(
            table,
            {entry.label: _cells(entry, now.reference, place) for place, entry in _placed(now)},
        )

    def _show_settings(self, now: Comparison) -> None:
        rows = {
            setting.path: {
                "path": rich_text(setting.path),
                **{
                    str(run.id): rich_text(one_line(value, 60)) if value else Text(ABSENT)
                    for run, value in zip(now.runs, setting.values, strict=True)
                },
            }
            for setting in now.settings
        }
        update_rows(self.query_one("#settings", DataTable), rows)

    def _under_cursor(self) -> Entry | None:
        table = self.query_one("#entries", DataTable)
        entries = self.shown.entries if self.shown is not None else ()
        return next((e for e in entries if e.label == key_under_cursor(table)), None)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter, or a click on the cursor's row."""
        event.stop()
        if event.data_table.id == "entries":
            self.action_open()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        entry = self._under_cursor()
        if entry is not None and self.shown is not None:
            kind = next(run.kind for run in self.shown.runs if run.id == entry.run)
            self.qllm.open_run(entry.run, kind)

    def action_reference(self) -> None:
        """Hold the others against the entry under the cursor."""
        entry = self._under_cursor()
        if entry is not None:
            self._reference = entry.label
            self.qllm.refresh_now()

    def action_settings(self) -> None:
        """Show where the settings differ, or the curves again."""
        self.toggle_class("-settings")
        shown: Literal["#settings", "#entries"] = (
            "#settings" if self.has_class("-settings") else "#entries"
        )
        self.query_one(shown).focus()

    def action_report(self) -> None:
        """Write the comparison as a page, in a process of its own."""
        from qllm.errors import WorkError
        from qllm.tui.jobs import start_job

        words = ["report", "--compare", *map(str, dict.fromkeys(self.run_ids))]
        try:
            job = start_job(words, self.qllm.home)
        except WorkError as error:
            self.notify(str(error), severity="error", markup=False)
            return

        def look() -> None:
            ended = job.ended()
            if ended is not None:
                timer.stop()
                said = ended.last[-1] if ended.last else ended.how
                self.app.notify(
                    one_line(f"written: {said}" if ended.well else said, 300),
                    severity="information" if ended.well else "error",
                    markup=False,
                )

        timer = self.app.set_interval(0.2, look)
        self.notify("writing the report …")


def _placed(now: Comparison) -> list[tuple[int | None, Entry]]:
    """Entries with the place of their curve among those that are drawn."""
    out: list[tuple[int | None, Entry]] = []
    drawn = 0
    for entry in now.entries:
        has_curve = entry.curve is not None and bool(entry.curve.steps)
        out.append((drawn if has_curve else None, entry))
        drawn += has_curve
    return out


def _cells(entry: Entry, reference: str, place: int | None) -> dict[str, Text]:
    mark = " " if place is None else _MARKS[place % len(_MARKS)]
    colour = "" if place is None else _COLOURS[place % len(_COLOURS)]
    found = entry.difference
    plain = {
        "seeds": str(entry.seeds),
        "iqm": number(entry.iqm),
        "ci": interval(entry.ci),
        "difference": number(found.iqm) if found is not None else ABSENT,
        "difference_ci": interval(found.ci) if found is not None else ABSENT,
        "mean": number(entry.mean),
        "mean_ci": interval(entry.mean_ci),
        "steps": count(entry.env_steps),
    }
    if entry.label == reference:
        plain |= {"difference": "reference", "difference_ci": ""}
    cells = {key: Text(value, justify="right") for key, value in plain.items()}
    named = Text(f"{mark} ", style=colour).append(one_line(entry.label, 30), style="")
    return {"entry": named, **cells, "status": rich_text(entry.status)}
