"""All runs, live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widgets import Input, Static

from qllm.facts.progress import SearchProgress
from qllm.store.numbers import run_name
from qllm.store.states import RESUMABLE
from qllm.text import one_line, rich_text
from qllm.tui.reading.runs import RunRow, RunsQuery
from qllm.tui.reading.watch import Look, Query
from qllm.tui.screens.live import LiveScreen
from qllm.tui.widgets.bars import KeyBar, TitleBar
from qllm.tui.widgets.rows import Row, RowList
from qllm.tui.widgets.run_rows import COLUMNS, algos, cells, elapsed, search_facts


class RunsScreen(LiveScreen):
    """The first screen."""

    TITLE = "runs"
    CSS_PATH = "runs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="the run under the cursor"),
        Binding("slash", "filter", "filter", key_display="/", tooltip="by words of a run"),
        Binding("space", "mark", "mark", tooltip="to compare or stop several"),
        Binding(
            "right", "unfold", "trainings", key_display="→", tooltip="of this run, in the list"
        ),
        Binding("left", "fold", "fold", show=False, key_display="←", tooltip="its trainings away"),
        Binding("s", "stop", "stop", tooltip="what is marked and runs, or under the cursor"),
        Binding("r", "resume", "resume", tooltip="from its last checkpoint"),
        Binding("v", "compare", "compare", tooltip="the marked runs side by side"),
        Binding(
            "e", "evaluate", "evaluate", show=False, tooltip="greedy episodes of its trainings"
        ),
        Binding("c", "clone", "clone", show=False, tooltip="a form filled in as this run was"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._all: tuple[RunRow, ...] | None = None
        self._look: Look | None = None
        self._in_view: tuple[int, ...] = ()
        self._words = ""
        self._opened: set[int] = set()
        self._offered: tuple[bool | None, ...] = ()

    def compose(self) -> ComposeResult:
        yield TitleBar()
        yield RowList(COLUMNS, cells, marks=True, id="runs")
        yield Static("reading the runs", id="notice", markup=False)
        yield Input(placeholder="words that a run has to have", id="filter", compact=True)
        yield KeyBar()

    def on_mount(self) -> None:
        """Focus the table and hide the filter."""
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
        """The newest runs, with the curves of those in view, and the trainings of some."""
        return RunsQuery(curves_of=self._in_view, opened=tuple(sorted(self._opened)))

    @property
    def to_copy(self) -> str:
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
        rows, whole = [], False
        for row in self._all or ():
            if row.parent is None:  # trainings follow their run, and are listed with it
                searched = _searched(row)
                whole = all(word in searched for word in words)
            if whole:
                rows.append(Row(row.id, row))
        self._table.put(rows)
        self._look_at()

    def _tell(self) -> None:
        """Update the line below the table and the available keys."""
        notice, said = self.query_one("#notice", Static), self._said()
        notice.display = said is not None
        if said is not None:
            notice.update(said)
        offered = tuple(self.check_action(name, ()) for name in ("stop", "resume", "unfold"))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _said(self) -> Text | None:
        look, row = self._look, self._row
        if look is None:
            return Text("reading the runs")
        if look.problem and not look.missing:
            return rich_text(look.problem, "bold")
        if look.missing or not self._all:
            return Text("no runs yet: press n to start one")
        if row is None:
            return rich_text(f"no run has “{self._words}”: esc shows all")
        if row.status == "died":
            what = "it" if row.parent is None else f"run {row.parent}"
            return Text(f"run {run_name(row.id)} died: its process is gone; r resumes {what}")
        if row.error:
            return rich_text(f"run {run_name(row.id)}: {one_line(row.error)}")
        if self._table.marked:
            marked = sorted(self._table.marked)
            names = ", ".join(map(str, marked))
            more = "v compares them" if len(marked) > 1 else "mark a second run to compare"
            return Text(f"marked: {names} ({more})")
        if row.returns is not None and row.returns.search is not None:
            return _search_said(row, row.returns.search)
        shown = row.returns.algo if row.returns else ""
        if shown and len(row.algos) > 1 and not row.opened:
            return rich_text(
                f"run {row.id} trains {', '.join(algos(row))}: the numbers are those of {shown}; "
                "→ shows every training"
            )
        if self._words:
            return rich_text(f"runs with “{self._words}” (esc shows all)")
        return None

    def _look_at(self) -> None:
        """Ask for the curves of what is in view."""
        seen = self._table.in_view()
        if seen != self._in_view:
            self._in_view = seen
            if self.is_current:
                self.qllm.refresh_now()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        self._look_at()
        self._tell()

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.action_open()

    # -- filter ----------------------------------------------------------------------------

    def action_filter(self) -> None:
        self._input.display = True
        self._input.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value
        self._put()
        self._tell()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter, and go back to the list."""
        self._input.display = bool(self._words)
        self._table.focus()

    def on_key(self, event: Key) -> None:
        """Remove the filter on escape; arrows move the table's cursor while one types."""
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
        """Show the run under the cursor, or the run of the training under it."""
        row = self._row
        if row is None:
            return
        if row.parent is None:
            self.qllm.open_run(row.id, row.kind)
            return
        from qllm.tui.screens.run import RunScreen

        self.app.push_screen(RunScreen(row.parent, training=row.id))

    def action_unfold(self) -> None:
        row = self._row
        if row is not None and row.trainings:
            self._opened.add(row.id)
            self.qllm.refresh_now()

    def action_fold(self) -> None:
        """Take the trainings of the run away again, and go to it."""
        row = self._row
        if row is None:
            return
        self._opened.discard(row.run)
        self._table.go_to(row.run)
        # What is known already is enough to draw it.
        self._all = tuple(
            replace(r, opened=False) if r.id == row.run else r
            for r in self._all or ()
            if r.parent != row.run
        )
        self._put()
        self._tell()
        self.qllm.refresh_now()

    def action_mark(self) -> None:
        """Mark the run under the cursor, for a comparison or to stop several."""
        row = self._row
        if row is not None and row.parent is not None:
            self.notify(f"whole runs are marked: this is a training of run {row.parent}")
            return
        self._table.toggle_mark()
        self._tell()

    def _by_id(self, run_ids: Iterable[int]) -> list[RunRow]:
        wanted = set(run_ids)
        return [row for row in self._all or () if row.id in wanted]

    def _whole(self) -> RunRow | None:
        """The run under the cursor, or that of the training under it."""
        row = self._row
        return next(iter(self._by_id([row.run])), None) if row is not None else None

    def _to_stop(self) -> list[RunRow]:
        """The marked runs, if one of them is running; else the one under the cursor."""
        marked = self._by_id(self._table.marked)
        if any(row.active for row in marked):
            return marked
        row = self._whole()
        return [row] if row is not None else []

    def action_stop(self) -> None:
        chosen = self._to_stop()
        named = "; ".join(_named(row) for row in chosen if row.active)
        self.qllm.ask_to_stop([(row.id, row.status) for row in chosen], named)

    def action_resume(self) -> None:
        row = self._whole()
        if row is not None:
            self.qllm.resume_run(row.id, row.status)

    def action_clone(self) -> None:
        row = self._row
        if row is not None:
            from qllm.tui.screens.launch import LaunchScreen

            self.app.push_screen(LaunchScreen(like=row.run))

    def action_evaluate(self) -> None:
        """Let the trainings of the run under the cursor play, or the training under it."""
        if self._row is not None:
            self.qllm.evaluate_run(self._row.id)

    def action_compare(self) -> None:
        """The marked runs side by side; of one run, the algorithms that it compares."""
        row = self._whole()
        chosen = self._by_id(self._table.marked) or ([row] if row is not None else [])
        if len(chosen) > 1 or (chosen and len(chosen[0].algos) > 1):
            from qllm.tui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen(tuple(sorted(row.id for row in chosen))))
        elif chosen and self._table.marked:
            self.notify("mark a second run with space, then v compares the two")
        elif chosen:
            self.notify("mark two runs or more with space, then v compares them")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "stop":
            return any(row.active for row in self._to_stop())
        if action == "resume":
            row = self._whole()
            return row is not None and row.status in ("paused", *RESUMABLE)
        if action == "evaluate":
            return self._row is not None and self._row.kind != "synth"
        if action == "unfold":
            row = self._row
            return row is not None and row.trainings > 0 and not row.opened
        return True


def _named(row: RunRow) -> str:
    return f"run {row.id} ({row.kind} {one_line(row.task, 40)}{_of(row)})"


def _of(row: RunRow) -> str:
    return f", {one_line(', '.join(algos(row)), 40)}" if algos(row) else ""


def _searched(row: RunRow) -> str:
    names = " ".join((row.algo, *row.algos))
    return f"{run_name(row.id)} {row.kind} {row.status} {row.task} {names}".lower()


def _search_said(row: RunRow, search: SearchProgress) -> Text:
    """Progress of a search, in a line."""
    text = Text(f"run {row.id} {'searches' if row.active else 'searched'}: ")
    text.append_text(Text(", ").join(Text(fact.plain) for fact in search_facts(search)))
    if row.active and row.elapsed_s is not None:
        text.append(f"; running for {elapsed(row.elapsed_s)}")
    return text
