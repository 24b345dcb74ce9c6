"""Several runs side by side."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Resize
from textual.widgets import DataTable, Static

from qllm.facts.compared import Comparison, Entry
from qllm.text import one_line, rich_text, safe
from qllm.tui.glyphs import status_text
from qllm.tui.reading.compare import CompareQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.reporting import CURVE_KEYS, REPORT_KEYS, CurvesScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.chart import COLOURS, Chart, Line, letter
from qllm.tui.widgets.keyed import key_under_cursor, update_rows
from qllm.units import ABSENT, count, interval, number

_BAND_HEIGHT = 14
"""In lower charts the intervals would hide the curves."""

_COLUMNS = {
    "entry": "run and algorithm",
    "seeds": "seeds",
    "mean": "mean",
    "mean_ci": "95% of mean",
    "difference": "difference",
    "difference_ci": "95% of diff.",
    "iqm": "IQM",
    "ci": "95% of IQM",
    "steps": "steps",
}

_VIEWS = ("curves", "settings", "notes")


class CompareScreen(CurvesScreen):
    """Several runs side by side.

    Args:
        run_ids: in the order in which they are shown.
    """

    TITLE = "compare"
    CSS_PATH = "compare.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open run", tooltip="the one under the cursor"),
        Binding("r", "reference", "as reference", tooltip="hold the others against this row"),
        Binding("c", "view('settings')", "settings", tooltip="where they differ, and back"),
        Binding("e", "view('notes')", "explain", tooltip="what the numbers are, and back"),
        *REPORT_KEYS,
        Binding("plus,equals_sign", "zoom(True)", "zoom", show=False, key_display="+"),
        *CURVE_KEYS,
    ]

    def __init__(self, run_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.run_ids = tuple(dict.fromkeys(run_ids))
        self.shown: Comparison | None = None
        self._reference: str | None = None
        self._view = "curves"

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield Static("reading …", id="notice", markup=False)
        with Vertical(id="body"):
            yield Chart(id="chart")
            yield DataTable(id="settings", cursor_type="row", zebra_stripes=True)
            with VerticalScroll(id="notes"):
                yield Static("", id="words", markup=False)
            yield DataTable(id="entries", cursor_type="row", zebra_stripes=True)
            yield Static("", id="against", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        table = self.query_one("#entries", DataTable)
        for key, title in _COLUMNS.items():
            named = Text(title) if key == "entry" else Text(title, justify="right")
            table.add_column(named, key=key)
        settings = self.query_one("#settings", DataTable)
        settings.add_column("setting", key="path")
        for run_id in self.run_ids:
            settings.add_column(f"#{run_id}", key=str(run_id))
        self._show_view()

    @property
    def query_now(self) -> Query:
        return CompareQuery(self.run_ids, self._reference)

    @property
    def report_words(self) -> Sequence[str]:
        """These runs with the reference of this screen; a single run has its own report."""
        if len(self.run_ids) == 1:
            return [str(self.run_ids[0])]
        chosen = self.shown.reference if self._reference and self.shown is not None else ""
        against = ["--reference", chosen] if chosen else []
        return ["--compare", *map(str, self.run_ids), *against]

    @property
    def to_copy(self) -> str:
        return shlex.join(["qllm", "report", *self.report_words])

    def show(self, look: Look) -> None:
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
        numbers = ", ".join(str(run.id) for run in now.runs)
        self.title = one_line(f"compare {numbers} · {tasks}", 100)
        self.write("against", _against(now, self.size.width < 100))
        self.write("words", rich_text("\n\n".join((*now.notes, _curve_words(now))), newlines=True))

    def on_resize(self, event: Resize) -> None:
        """Intervals are drawn where there is room for them."""
        if self.shown is not None:
            self.call_after_refresh(self._draw, self.shown)

    def _draw(self, now: Comparison) -> None:
        chart = self.query_one(Chart)
        lines = [e.curve for e in now.entries if e.curve is not None and e.curve.steps]
        bands = chart.size.height >= _BAND_HEIGHT and any(c.low is not None for c in lines)
        several = any(len(c.seeds) > 1 for c in lines)
        title = "return, IQM over seeds" if several else "return"
        chart.draw(
            [
                Line(
                    curve.algo,
                    curve.steps,
                    curve.centre,
                    *((curve.low or (), curve.high or ()) if bands else ()),
                )
                for curve in now.curves
                if curve.steps
            ],
            "environment steps",
            f"{title} (faint: ends of its 95% interval)" if bands else title,
            write_x=count,
            nothing="no curves yet: nothing has been evaluated",
            values=False,  # the table has them
        )

    def _show_entries(self, now: Comparison) -> None:
        table = self.query_one("#entries", DataTable)
        update_rows(
            table,
            {entry.label: _cells(entry, now, place) for place, entry in _placed(now)},
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
        event.stop()
        if event.data_table.id == "entries":
            self.action_open()

    def action_open(self) -> None:
        entry = self._under_cursor()
        if entry is not None and self.shown is not None:
            kind = next(run.kind for run in self.shown.runs if run.id == entry.run)
            self.qllm.open_run(entry.run, kind)

    def action_reference(self) -> None:
        entry = self._under_cursor()
        if entry is not None and not entry.scores:
            said = f"no seed of {entry.label} has finished, so nothing can be held against it"
            self.notify(safe(said), severity="warning")
        elif entry is not None:
            self._reference = entry.label
            self.qllm.refresh_now()

    def action_view(self, name: str) -> None:
        self._view = "curves" if self._view == name else name
        self._show_view()

    def _show_view(self) -> None:
        for name in _VIEWS:
            self.set_class(self._view == name, f"-{name}")
        focus = {"settings": "#settings", "notes": "#notes"}.get(self._view, "#entries")
        self.query_one(focus).focus()


def _against(now: Comparison, narrow: bool) -> Text:
    """The reference and the reason for it, then the limits of the comparison."""
    text = Text("\n").join(Text(safe(unfair), style="bold") for unfair in now.unlike)
    said = Text(style="dim")
    if now.reference:
        why = "" if narrow else f", {safe(now.reference_why)}; seed by seed"
        said.append(f"difference: to {safe(now.reference)}{why} (r: to the row under the cursor)")
    elif now.entries:
        said.append("no seed has finished yet: nothing can be compared")
    for part in (said, *(Text(safe(c), style="bold") for c in now.cautions if c not in now.unlike)):
        if part:
            text = Text("\n").join([text, part]) if text else part
    return text


def _curve_words(now: Comparison) -> str:
    # What is a band in a picture is two faint lines here.
    words = now.curve_words.replace("Band: 95%", "Faint: the ends of the 95%")
    return f"Curves. {words}" if words else "There are no curves yet."


def _placed(now: Comparison) -> list[tuple[int | None, Entry]]:
    """Entries with the place of their curve among those that are drawn."""
    out: list[tuple[int | None, Entry]] = []
    drawn = 0
    for entry in now.entries:
        has_curve = entry.curve is not None and bool(entry.curve.steps)
        out.append((drawn if has_curve else None, entry))
        drawn += has_curve
    return out


def _cells(entry: Entry, now: Comparison, place: int | None) -> dict[str, Text]:
    found = entry.difference
    plain = {  # in the order of the columns
        "seeds": str(entry.seeds),
        "mean": number(entry.mean),
        "mean_ci": interval(entry.mean_ci),
        "difference": number(found.mean) if found is not None else ABSENT,
        "difference_ci": interval(found.ci) if found is not None else ABSENT,
        "iqm": number(entry.iqm),
        "ci": interval(entry.ci),
        "steps": count(entry.env_steps),
    }
    if entry.label == now.reference:
        plain |= {"difference": "reference", "difference_ci": ""}
    cells = {key: Text(value, justify="right") for key, value in plain.items()}
    colour = "" if place is None else f"bold {COLOURS[place % len(COLOURS)]}"
    named = Text(" " if place is None else letter(place), style=colour)
    named.append(f" {one_line(entry.label, 30)}", style="not bold default")
    if entry.status != "finished":
        status = next(run.status for run in now.runs if run.id == entry.run)
        named.append("  ").append_text(status_text(status))
    return {"entry": named, **cells}
