"""Dialog for greedy episodes of a run's trainings, which another process plays."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from qllm.store.numbers import run_name
from qllm.text import one_line, rich_text
from qllm.tui.reading.evaluated import Evaluated, Measured, read_evaluated
from qllm.tui.widgets.rows import Column, Row, RowList
from qllm.units import count, duration, interval, number

if TYPE_CHECKING:
    from qllm.tui.app import QllmApp
    from qllm.tui.jobs import Ended, StartedJob

_COLUMNS = (
    Column("run", 6, right=True),
    Column("algo", 6, grows=True),
    Column("seed", 4, right=True),
    Column("step", 5, right=True),
    Column("of", 9, grows=True),
    Column("mean", 8, right=True),
    Column("95% of mean", 18, right=True),
    Column("min", 8, right=True, from_width=80),
    Column("max", 8, right=True, from_width=80),
)


def _cells(row: Measured, widths: Sequence[int]) -> list[Text]:
    seed = "" if row.seed is None else str(row.seed)
    who = row.number, row.algo, seed, count(row.step), row.what
    numbers = number(row.mean), interval(row.ends), number(row.low), number(row.high)
    return [rich_text(word) for word in (*who, *numbers)]


class EvaluateScreen(ModalScreen[None]):
    """Episodes and checkpoint, then the returns.

    Args:
        run_id: a training, or a run, of which every training plays.
    """

    CSS_PATH = "evaluate.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back")]

    def __init__(self, run_id: int) -> None:
        super().__init__()
        self._run = run_name(run_id)
        self._job: StartedJob | None = None
        self._since: float | None = None
        """Start of the current evaluation, on the monotonic clock; None between evaluations."""

    def compose(self) -> ComposeResult:
        with Vertical(id="evaluate"):
            yield Static(Text(f"evaluate run {self._run}: greedy episodes", "bold"), markup=False)
            with Horizontal(id="asked"):
                yield Static("episodes", markup=False)
                yield Input("100", id="episodes", compact=True)
                yield Static("checkpoint", markup=False)
                yield Input("newest", id="checkpoint", compact=True)
            yield Static("newest, best or a step such as 20k; enter plays", id="said", markup=False)
            yield RowList(_COLUMNS, _cells, id="evaluated")
            yield Static(id="notes", markup=False)

    def on_mount(self) -> None:
        self.query_one(RowList).display = self.query_one("#notes").display = False
        self.query_one("#episodes", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Run ``qllm evaluate``, which reports wrong arguments itself."""
        if self._since is not None:
            return
        asked = {name: self.query_one(f"#{name}", Input).value for name in _ASKED}
        words = [f"--{name}={value.strip()}" for name, value in asked.items()]
        self._job = cast("QllmApp", self.app).start_job(
            ("evaluate", self._run, *words, "--json"), self._ended, self._goes_on
        )
        if self._job is not None:
            self._since = time.monotonic()
            self._say("playing …")

    def _goes_on(self) -> None:
        if self.is_current and self._job is not None:
            took = duration(time.monotonic() - (self._since or 0.0))
            lines = self._job.last_lines(1)
            told = f"; {one_line(lines[0].removeprefix('qllm: '), 100)}" if lines else ""
            self._say(f"playing … {took}{told}")

    def _ended(self, ended: Ended) -> None:
        """Read its output, even if the screen is closed."""
        self._since = None
        found, problem = None, ended.last[-1].removeprefix("qllm: ") if ended.last else ended.how
        if ended.well and self._job is not None:
            try:
                found = read_evaluated(self._job.log)
            except (OSError, ValueError, KeyError) as error:
                problem = str(error)
        if not self.is_current:
            one = found.rows[0] if found is not None else None
            said = f"run {self._run}: {problem}"
            if one is not None:
                said = f"run {one.number}: return {number(one.mean)} {interval(one.ends)}"
            self.app.notify(one_line(said, 300), severity="information" if one else "error")
        elif found is None:
            self._say(one_line(problem, 300), "bold red")
        elif self.query(RowList):
            self._show(found)

    def _show(self, found: Evaluated) -> None:
        self._say(found.said)
        table, notes = self.query_one(RowList), self.query_one("#notes", Static)
        table.display = True
        table.styles.height = len(found.rows) + 1
        table.put([Row(at, row) for at, row in enumerate(found.rows)])
        table.focus()
        notes.display = bool(found.notes)
        notes.update(Text("\n").join(rich_text(one_line(line)) for line in found.notes[-3:]))

    def _say(self, said: str, style: str = "") -> None:
        for line in self.query("#said").results(Static):  # none where the app is closing
            line.update(rich_text(said, style))

    def action_leave(self) -> None:
        """Back; what is being played is told when it is through."""
        self.dismiss()


_ASKED = ("episodes", "checkpoint")
