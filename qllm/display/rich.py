"""The display for a terminal: bars with rate and time left, candidates as rows as they come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column, Table
from rich.text import Text

from qllm.display.base import Display, Level
from qllm.display.pace import Pace, PacedBar
from qllm.display.streams import SteadyStream
from qllm.text import indented, one_line, rich_text
from qllm.units import ABSENT, count, duration, number

if TYPE_CHECKING:
    from qllm.display.rows import Row
    from sandbox.report import CheckReport


_DRAW_PER_S = 4
_LEVEL_STYLE: dict[Level, str] = {"info": "", "warning": "yellow", "error": "bold red"}

_CANDIDATE_COLUMNS = {
    "candidate": 9, "verdict": 10, "stage": 10, "form": 7, "IGM": 12, "finite": 8, "time": 6,
}  # fmt: skip
"""Heading and width; with one blank between columns they fill 69 of 80 characters."""

_BESIDE_TITLE = 2 + 11 + 16 + 9 + 11
"""Width of spinner, bar, figures, rate, time left, and the blanks between."""


class _Title(ProgressColumn):
    """Title and detail, cut so that the figures beside them always have their room."""

    def __init__(self, console: Console) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Text:
        text = Text(task.description)
        if task.fields["detail"]:
            text.append(f"  {task.fields['detail']}", style="dim")
        text.truncate(max(12, self._console.width - _BESIDE_TITLE), overflow="ellipsis")
        return text


def _figures(field: str, style: str, width: int) -> TextColumn:
    """One of a bar's figures, right-aligned in a width that does not jump."""
    column = Column(no_wrap=True, min_width=width, justify="right")
    return TextColumn(f"{{task.fields[{field}]}}", style, markup=False, table_column=column)


class RichBar(PacedBar):
    """One line of the live display, drawn at most ten times a second."""

    every_s = 0.1
    detail_length = 60

    def __init__(self, display: RichDisplay, title: str, pace: Pace) -> None:
        super().__init__(title, pace)
        self._display = display
        self._task = display.started().add_task(
            title, total=pace.total, completed=pace.done, **self._fields()
        )

    def _fields(self) -> dict[str, Any]:
        pace, left = self.pace, self.pace.left_s
        of = f"/{count(pace.total)}" if pace.total is not None else ""
        return {
            "detail": self.detail,
            "done": f"{count(pace.done)}{of} {pace.unit}",
            "rate": "" if pace.rate is None else f"{count(pace.rate)}/s",
            "left": "" if left is None else f"{duration(left)} left",
        }

    def draw(self) -> None:
        if self._display.live is not None:
            self._display.live.update(self._task, completed=self.pace.done, **self._fields())

    def leave(self, outcome: str, *, good: bool) -> None:
        live = self._display.live
        if live is not None and self._task in live.task_ids:
            live.remove_task(self._task)
            if not live.tasks:
                self._display.close()
        mark = ("✓", "green") if good else ("✗", "red")
        self._display.line(Text.assemble(mark, " ", self.title, "  ", (outcome, "dim")))


class RichDisplay(Display):
    """Bars and lines on stderr; the result table on stdout, or on stderr under ``json``."""

    colour = True

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, json: bool = False, width: int | None = None
    ) -> None:
        err = cast(TextIO, SteadyStream(stderr))
        super().__init__(err if json else stdout)
        self._console = Console(file=err, width=width, markup=False, highlight=False, emoji=False)
        self.live: Progress | None = None
        """The bars on the screen."""
        self._heading_shown = False

    def started(self) -> Progress:
        """The bars on the screen, begun where there were none."""
        if self.live is None:
            self.live = Progress(
                SpinnerColumn(),
                _Title(self._console),
                BarColumn(bar_width=10),
                _figures("done", "", 15),
                _figures("rate", "cyan", 8),
                _figures("left", "dim", 10),
                console=self._console,
                refresh_per_second=_DRAW_PER_S,
                transient=True,
                # A redirected stdout would land on stderr, and stdout is for results.
                redirect_stdout=False,
                redirect_stderr=True,
            )
            self.live.start()
        return self.live

    def line(self, text: Text) -> None:
        """A line that stays, above the bars."""
        self._console.print(text, overflow="ellipsis", no_wrap=True, crop=True)

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> RichBar:
        return RichBar(self, one_line(title, 60), Pace(total, unit, done, time.monotonic))

    def candidate(self, label: str, report: CheckReport, detail: str = "") -> None:
        """One row, and for a rejected candidate a second line with the reason."""
        accepted = report.verdict == "accepted"
        style = "green" if accepted else "red"
        if not self._heading_shown:
            self._heading_shown = True
            self._candidate_row([Text(name, style="dim") for name in _CANDIDATE_COLUMNS])
        cells = (report.stage, report.signature, report.igm, report.finite)
        self._candidate_row(
            [
                rich_text(label),
                rich_text(f"{'✓' if accepted else '✗'} {report.verdict}", style),
                *(rich_text(cell or ABSENT) for cell in cells),
                Text(duration(report.elapsed_s)),
            ]
        )
        why = ": ".join(w for w in (report.rule or "", detail) if w)
        if why:
            self.line(Text.assemble("  └ ", (one_line(why), "dim")))

    def _candidate_row(self, cells: Sequence[Text]) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        for width in _CANDIDATE_COLUMNS.values():
            grid.add_column(width=width, no_wrap=True, overflow="ellipsis")
        grid.add_row(*cells)
        self._console.print(grid)

    def pilot(self, label: str, score: float, baseline: float | None, detail: str = "") -> None:
        parts: list[str | tuple[str, str]] = [
            ("pilot ", "dim"),
            one_line(label, 16),
            ("  return ", "dim"),
            (number(score), "bold"),
        ]
        if baseline is not None:
            parts.append((f"  baseline {number(baseline)}", "dim"))
        if detail:
            parts.append((f"  {one_line(detail)}", "dim"))
        self.line(Text.assemble(*parts))

    def note(self, text: str, level: Level = "info") -> None:
        prefix = "" if level == "info" else f"{level}: "
        self._console.print(rich_text(indented(prefix + text), _LEVEL_STYLE[level], newlines=True))

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """The result table. Bars step aside while it is drawn."""
        if self.live is not None:
            self.live.stop()
        super().table(rows, title=title)
        if self.live is not None:
            self.live.start()

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None
