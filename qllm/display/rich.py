"""The display for a terminal: bars with rate and time left, candidates as rows as they come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.table import Column, Table
from rich.text import Text

from qllm.display.pace import Pace
from qllm.display.protocol import CandidateLine, Level, PilotLine, Row
from qllm.display.rows import write_table
from qllm.display.streams import SteadyStream
from qllm.text import one_line, rich_text
from qllm.units import ABSENT, count, duration, number

_DRAW_PER_S = 4
_PUSH_EVERY_S = 0.1
_LEVEL_STYLE: dict[Level, str] = {"info": "", "warning": "yellow", "error": "bold red"}

# Heading and width; with one blank between columns they fill 69 of 80 characters.
_CANDIDATE_COLUMNS: tuple[tuple[str, int], ...] = (
    ("candidate", 9),
    ("verdict", 10),
    ("stage", 10),
    ("form", 7),
    ("IGM", 12),
    ("finite", 8),
    ("time", 6),
)


# What stands beside the title: spinner, bar, figures, rate, time left, and the blanks between.
_BESIDE_TITLE = 2 + 11 + 16 + 9 + 11


class _Title(ProgressColumn):
    """Title and detail, cut so that the figures beside them always have their room."""

    def __init__(self, console: Console) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Text:
        """One line of text."""
        text = Text(task.description)
        if task.fields["detail"]:
            text.append(f"  {task.fields['detail']}", style="dim")
        text.truncate(max(12, self._console.width - _BESIDE_TITLE), overflow="ellipsis")
        return text


class _Figures(ProgressColumn):
    """One of the bar's prepared figures, right-aligned in a width that does not jump."""

    def __init__(self, field: str, style: str, width: int) -> None:
        super().__init__(table_column=Column(no_wrap=True, min_width=width, justify="right"))
        self._field, self._style = field, style

    def render(self, task: Task) -> Text:
        """One line of text."""
        return Text(task.fields["figures"][self._field], style=self._style)


def _figures(pace: Pace) -> dict[str, str]:
    of = f"/{count(pace.total)}" if pace.total is not None else ""
    left = pace.left_s
    return {
        "done": f"{count(pace.done)}{of} {pace.unit}",
        "rate": "" if pace.rate is None else f"{count(pace.rate)}/s",
        "left": "" if left is None else f"{duration(left)} left",
    }


class RichBar:
    """One line of the live display."""

    def __init__(self, display: RichDisplay, title: str, pace: Pace) -> None:
        self._display, self._title, self._pace = display, title, pace
        self._detail = ""
        self._pushed = pace.started
        self._task: TaskID | None = display.add(title, pace)

    def update(self, done: int, *, rate: float | None = None, detail: str | None = None) -> None:
        """Record progress; the screen is touched at most ten times a second."""
        self._pace.update(done, rate)
        if detail is not None:
            self._detail = one_line(detail, 60)
        now = self._pace.clock()
        if self._task is not None and (now - self._pushed >= _PUSH_EVERY_S or done == 0):
            self._pushed = now
            self._display.push(self._task, self._pace, self._detail)

    def finish(self, outcome: str = "") -> None:
        """Replace the bar by one line that stays."""
        self._end(outcome or self._pace.summary(), "green", "✓")

    def _end(self, outcome: str, style: str, mark: str) -> None:
        if self._task is not None:
            self._display.remove(self._task)
            self._task = None
            self._display.line(
                Text.assemble((mark, style), " ", self._title, "  ", (one_line(outcome), "dim"))
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self._end(self._pace.broken_off(kind), "red", "✗")


class RichDisplay:
    """Bars and lines on stderr; the result table on stdout, or on stderr under ``json``."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, json: bool = False, width: int | None = None
    ) -> None:
        self._err = cast(TextIO, SteadyStream(stderr))
        self._out = self._err if json else stdout
        self._console = Console(
            file=self._err, width=width, markup=False, highlight=False, emoji=False
        )
        self._progress: Progress | None = None
        self._heading_shown = False

    # -- what bars ask of their display ------------------------------------------------------

    def add(self, title: str, pace: Pace) -> TaskID:
        """Put a bar on the screen."""
        if self._progress is None:
            self._progress = self._live()
            self._progress.start()
        return self._progress.add_task(
            title, total=pace.total, completed=pace.done, detail="", figures=_figures(pace)
        )

    def push(self, task: TaskID, pace: Pace, detail: str) -> None:
        """Bring a bar up to date."""
        if self._progress is not None:
            self._progress.update(task, completed=pace.done, detail=detail, figures=_figures(pace))

    def remove(self, task: TaskID) -> None:
        """Take a bar away, and the live display with the last one."""
        if self._progress is not None:
            self._progress.remove_task(task)
            if not self._progress.tasks:
                self.close()

    def line(self, text: Text) -> None:
        """A line that stays, above the bars."""
        self._console.print(text, overflow="ellipsis", no_wrap=True, crop=True)

    def _live(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            _Title(self._console),
            BarColumn(bar_width=10),
            _Figures("done", "", 15),
            _Figures("rate", "cyan", 8),
            _Figures("left", "dim", 10),
            console=self._console,
            refresh_per_second=_DRAW_PER_S,
            transient=True,
            # A redirected stdout would land on stderr, and stdout is for results.
            redirect_stdout=False,
            redirect_stderr=True,
        )

    # -- the display -------------------------------------------------------------------------

    def begin(
        self, title: str, total: int | None = None, *, unit: str = "steps", done: int = 0
    ) -> RichBar:
        """Start a bar."""
        return RichBar(self, one_line(title, 60), Pace(total, unit, done, time.monotonic))

    def candidate(self, line: CandidateLine) -> None:
        """One row, and for a rejected candidate a second line with the reason."""
        accepted = line.verdict == "accepted"
        style = "green" if accepted else "red"
        if not self._heading_shown:
            self._heading_shown = True
            self._candidate_row([Text(name, style="dim") for name, _ in _CANDIDATE_COLUMNS])
        self._candidate_row(
            [
                rich_text(line.label),
                rich_text(f"{'✓' if accepted else '✗'} {line.verdict}", style),
                *(rich_text(w or ABSENT) for w in (line.stage, line.signature)),
                *(rich_text(w or ABSENT) for w in (line.igm, line.finite)),
                Text(duration(line.elapsed_s)),
            ]
        )
        why = ": ".join(w for w in (line.rule or "", line.detail) if w)
        if why:
            self.line(Text.assemble("  └ ", (one_line(why), "dim")))

    def _candidate_row(self, cells: Sequence[Text]) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        for _, width in _CANDIDATE_COLUMNS:
            grid.add_column(width=width, no_wrap=True, overflow="ellipsis")
        grid.add_row(*cells)
        self._console.print(grid)

    def pilot(self, line: PilotLine) -> None:
        """One line: the score beside the baseline's."""
        parts: list[str | tuple[str, str]] = [
            ("pilot ", "dim"),
            one_line(line.label, 16),
            ("  return ", "dim"),
            (number(line.score), "bold"),
        ]
        if line.baseline is not None:
            parts.append((f"  baseline {number(line.baseline)}", "dim"))
        if line.detail:
            parts.append((f"  {one_line(line.detail)}", "dim"))
        self.line(Text.assemble(*parts))

    def note(self, text: str, level: Level = "info") -> None:
        """The text; warnings and errors say so and are coloured."""
        prefix = "" if level == "info" else f"{level}: "
        self._console.print(rich_text(prefix + text, _LEVEL_STYLE[level], newlines=True))

    def table(self, rows: Sequence[Row], *, title: str | None = None) -> None:
        """The result table. Bars step aside while it is drawn."""
        if not rows:
            return
        live = self._progress
        if live is not None:
            live.stop()
        write_table(self._out, rows, title=title, colour=True)
        if live is not None:
            live.start()

    def close(self) -> None:
        """Stop drawing and give the cursor back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
