"""All runs, live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input, Static

from qllm.text import one_line, rich_text
from qllm.tui.glyphs import status_text
from qllm.tui.reading.runs import RunRow, RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.tui.widgets.spark import sparkline
from qllm.units import count, duration, number

_COLUMNS = (
    Column("run", 5, right=True),
    Column("status", 10),
    Column("kind", 7, from_width=70),
    Column("task", 15, grows=True),
    Column("algo", 6, from_width=90),
    Column("steps", 12, right=True),
    Column("rate", 8, right=True, from_width=110),
    Column("last", 7, right=True),
    Column("best", 7, right=True, from_width=76),
    Column("curve", 12, from_width=104),
    Column("time left", 9, right=True, from_width=88),
)


class RunsScreen(LiveScreen):
    """The first screen."""

    TITLE = "runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="the run under the cursor"),
        Binding("slash", "filter", "filter", key_display="/", tooltip="by words of a run"),
        Binding("space", "mark", "mark", tooltip="to compare or stop several"),
        Binding("s", "stop", "stop", tooltip="what is marked, or under the cursor"),
        Binding("r", "resume", "resume", show=False, tooltip="from its last checkpoint"),
        Binding("c", "clone", "clone", show=False, tooltip="a form filled in as this run was"),
        Binding("v", "compare", "compare", tooltip="the marked runs side by side"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._all: tuple[RunRow, ...] | None = None
        self._look: Look | None = None
        self._in_view: tuple[int, ...] = ()
        self._words = ""

    def compose(self) -> ComposeResult:
        """Header, table, a line for problems, footer."""
        yield TitleBar()
        yield RowList(_COLUMNS, _cells, marks=True, id="runs")
        yield Static("reading the runs", id="notice", markup=False)
        yield Input(placeholder="words that a run has to have", id="filter", compact=True)
        yield KeyBar()

    def on_mount(self) -> None:
        """The table has the keys; the filter comes when it is asked for."""
        self._input.display = False
        self._table.focus()

    @property
    def _table(self) -> RowList:
        return self.query_one(RowList)

    @property
    def _input(self) -> Input:
        return self.query_one("#filter", Input)

    @property
    def query_now(self) -> Query:
        """The newest runs, with the curves of those in view."""
        return RunsQuery(curves_of=self._in_view)

    @property
    def to_copy(self) -> str:
        """The command line of the run under the cursor."""
        row = self._row
        return row.command if row is not None else ""

    def show(self, look: Look) -> None:
        """Show the rows; nothing is drawn where nothing changed."""
        self._look = look
        if look.data is not None and look.data != self._all:
            self._all = look.data
            self._put()
        self._tell()

    # -- what is shown ---------------------------------------------------------------------

    @property
    def _row(self) -> RunRow | None:
        row: RunRow | None = self._table.value
        return row

    def _put(self) -> None:
        words = self._words.lower().split()
        rows = [row for row in self._all or () if all(word in _searched(row) for word in words)]
        self._table.put([Row(row.id, row) for row in rows])
        self._look_at()

    def _tell(self) -> None:
        """The line below the table, where there is something to say."""
        notice, look = self.query_one("#notice", Static), self._look
        said: Text | None = None
        if look is None:
            said = Text("reading the runs")
        elif look.problem and not look.missing:
            said = rich_text(look.problem, "bold")
        elif look.missing or not self._all:
            said = Text("no runs yet: press n to start one")
        elif not self._table.count:
            said = rich_text(f"no run has “{self._words}”: esc shows all")
        else:
            row = self._row
            if row is not None and row.status == "died":
                said = Text(f"run {row.id} died: its process is gone; r resumes it")
            elif row is not None and row.error:
                said = rich_text(f"run {row.id}: {one_line(row.error)}")
            elif self._table.marked:
                names = ", ".join(map(str, sorted(self._table.marked)))
                said = Text(f"marked: {names} (v compares them)")
            elif self._words:
                said = rich_text(f"runs with “{self._words}” (esc shows all)")
        notice.display = said is not None
        if said is not None:
            notice.update(said)

    def _look_at(self) -> None:
        """Ask for the curves of what is in view."""
        seen = self._table.in_view()
        if seen != self._in_view:
            self._in_view = seen
            if self.is_current:
                self.qllm.refresh_now()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        """The cursor or the view moved."""
        self._look_at()
        self._tell()

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        """A double click opens."""
        self.action_open()

    # -- filter ----------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Show only the runs that have the words to be typed."""
        self._input.display = True
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The list follows every letter."""
        self._words = event.value
        self._put()
        self._tell()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter, and go back to the list."""
        self._input.display = bool(self._words)
        self._table.focus()

    def on_key(self, event: Key) -> None:
        """Escape takes the filter away."""
        if event.key == "escape" and (self._words or self._input.display):
            event.stop()
            self._input.value = ""
            self._input.display = False
            self._table.focus()
        elif event.key in ("up", "down") and self._input.has_focus:
            event.stop()
            self._table.action_step(-1 if event.key == "up" else 1)

    # -- what can be done ------------------------------------------------------------------

    def action_open(self) -> None:
        """Show the run under the cursor."""
        row = self._row
        if row is not None:
            self.qllm.open_run(row.id, row.kind)

    def action_mark(self) -> None:
        """Mark the run under the cursor, for a comparison or to stop several."""
        self._table.toggle_mark()
        self._tell()

    def _chosen(self) -> list[RunRow]:
        """The marked runs, or the one under the cursor."""
        marked = [row for row in self._all or () if row.id in self._table.marked]
        return marked or ([self._row] if self._row is not None else [])

    def action_stop(self) -> None:
        """Stop the marked runs, or the one under the cursor."""
        self.qllm.ask_to_stop([(row.id, row.status) for row in self._chosen()])

    def action_resume(self) -> None:
        """Go on with the run under the cursor."""
        row = self._row
        if row is not None:
            self.qllm.resume_run(row.id, row.status)

    def action_clone(self) -> None:
        """A form filled in as this run was."""
        row = self._row
        if row is not None:
            from qllm.tui.screens.launch import LaunchScreen

            self.app.push_screen(LaunchScreen(like=row.id))

    def action_compare(self) -> None:
        """The marked runs side by side."""
        chosen = tuple(sorted(row.id for row in self._chosen()))
        if chosen:
            self.qllm.open_comparison(chosen)


def _searched(row: RunRow) -> str:
    return f"{row.id} {row.kind} {row.status} {row.task} {row.algo}".lower()


def _cells(row: RunRow, widths: Sequence[int]) -> list[Text]:
    told = row.returns
    steps = f"{count(row.env_steps)}/{count(row.total_steps)}" if row.total_steps else ""
    algo = row.algo or (told.algo if told else "")
    return [
        Text(str(row.id)),
        status_text(row.status),
        Text(row.kind),
        rich_text(row.task),
        rich_text(algo),
        Text(steps),
        Text(f"{count(row.rate)}/s" if row.rate else ""),
        Text(number(told.last) if told and told.last is not None else ""),
        Text(number(told.best) if told and told.best is not None else ""),
        Text(sparkline(told.curve, widths[9]) if told else "", style="cyan"),
        Text(f"{duration(row.left_s)}" if row.left_s is not None else ""),
    ]
