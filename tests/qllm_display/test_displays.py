"""Displays show what a job reports, keep to their streams and survive a terminal that goes away."""

from __future__ import annotations

import errno
import io
from typing import Any

import pytest

from qllm.display import Display, make_display
from qllm.display.pace import Pace
from qllm.display.plain import PlainDisplay
from qllm.display.rich import RichDisplay
from qllm.display.rows import layout
from sandbox.report import CheckReport


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def row(algo: str, seed: int | None, **changes: Any) -> dict[str, Any]:
    return {
        "run": 3,
        "task": "matrix/climbing",
        "algo": algo,
        "seed": seed,
        "env_steps": 20_000,
        "env_steps_per_s": 11_834.5,
        "return_mean": 175.25,
        "return_mean_ci": [-170.125, 180.5],
        "return_iqm": 174.9 if seed is None else None,
        "return_ci_over": "episodes" if seed is not None else "seeds",
        "best_return_mean": 181.0,
        "learnable_parameters": 26_499,
        "wall_s": 1.72,
        **changes,
    }


ROWS = [row("vdn", 0), row("vdn", None), row("qllm", 0, pilot_steps=48_000)]
REJECTED = CheckReport(
    "rejected",
    "properties",
    "properties.monotone",
    feedback="",
    source="",
    code="",
    gate="enforce",
    signature="mixing",
    finite="proved",
    elapsed_s=0.3,
)
HOSTILE = "q_tot falls \x1b]0;owned\x07 [red]here[/red]"


def busy(display: Display) -> None:
    """Everything that a job may say, once."""
    with display:
        display.note("hello\nworld")
        with display.begin("vdn, seed 0", 1_000) as bar:
            bar.update(500, rate=250.0, detail="return 12.0")
            display.candidate("r0.s1.0", REJECTED, HOSTILE)
            display.pilot("r0.s0.0", 181.25, 174.9, "2 seeds")
            display.note("careful", "warning")
            bar.update(1_000)
        display.table(ROWS, title="matrix/climbing")


@pytest.mark.parametrize("kind", ["rich", "plain", "none"])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_is_all_that_reaches_stdout(kind: Any, terminal: bool) -> None:
    out, err = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    busy(make_display(kind, stdout=out, stderr=err))
    assert "175.2" in out.getvalue()
    assert "vdn, seed 0" not in out.getvalue()
    assert "175.2" not in err.getvalue()


@pytest.mark.parametrize("kind", ["rich", "plain", "none"])
def test_under_json_nothing_reaches_stdout(kind: Any) -> None:
    out, err = Terminal(), Terminal()
    busy(make_display(kind, json=True, stdout=out, stderr=err))
    assert out.getvalue() == ""
    assert ("175.2" in err.getvalue()) == (kind != "none")


@pytest.mark.parametrize("kind", ["rich", "plain"])
def test_hostile_text_does_not_act(kind: Any) -> None:
    err = io.StringIO()
    busy(make_display(kind, stdout=io.StringIO(), stderr=err))
    assert "\x1b]0;owned" not in err.getvalue()
    assert "\x07" not in err.getvalue()
    assert "[red]here[/red]" in " ".join(err.getvalue().split())


def test_rich_is_chosen_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_display(stderr=Terminal()), RichDisplay)
    assert isinstance(make_display(stderr=io.StringIO()), PlainDisplay)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_display(stderr=Terminal()), PlainDisplay)


@pytest.mark.parametrize("kind", ["rich", "plain", "none"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EPIPE])
def test_a_terminal_that_goes_away_ends_no_job(kind: Any, code: int) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(code, "gone")

        def flush(self) -> None:
            raise OSError(code, "gone")

    busy(make_display(kind, json=True, stdout=io.StringIO(), stderr=Gone()))


@pytest.mark.parametrize("kind", ["rich", "plain", "none"])
def test_a_terminal_without_unicode_gets_the_table_all_the_same(kind: Any) -> None:
    class Ascii(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    out, err = (Ascii(io.BytesIO(), encoding="ascii") for _ in range(2))
    busy(make_display(kind, stdout=out, stderr=err))
    out.flush()
    assert b"175.2" in out.buffer.getvalue()  # type: ignore[attr-defined]


def test_bars_close_and_finish_more_than_once_without_harm() -> None:
    for kind in ("rich", "plain", "none"):
        display = make_display(kind, stdout=Terminal(), stderr=Terminal())  # type: ignore[arg-type]
        bar = display.begin("work")
        bar.finish()
        bar.finish("again")
        bar.update(3)
        display.close()
        display.close()


def test_an_exception_leaves_the_cursor_and_says_how_far_it_came() -> None:
    err = Terminal()

    def interrupted() -> None:
        with RichDisplay(Terminal(), err) as display, display.begin("qllm", 20_000) as bar:
            bar.update(12_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "stopped at 12k of 20k steps" in err.getvalue()
    assert err.getvalue().rindex("\x1b[?25h") > err.getvalue().rindex("\x1b[?25l")


def test_the_log_gets_few_lines_however_often_work_reports() -> None:
    err, clock = io.StringIO(), Clock()
    display = PlainDisplay(io.StringIO(), err, clock=clock)
    with display.begin("vdn, seed 0", 100_000) as bar:
        for step in range(0, 100_000, 10):
            clock.now += 0.0025
            bar.update(step)
    lines = err.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[0] == "vdn, seed 0: begins (100k steps)"
    assert lines[1] == "vdn, seed 0: 40k of 100k steps, 4k steps/s, 15 s left"
    assert lines[-1] == "vdn, seed 0: 100k steps in 25 s, 4k steps/s"


def test_resumed_work_is_timed_from_where_it_went_on() -> None:
    clock = Clock()
    pace = Pace(20_000, "steps", 10_000, clock)
    clock.now = 5.0
    pace.update(15_000)
    assert pace.rate == 1_000
    assert pace.left_s == 5.0


@pytest.mark.parametrize("width", [80, 100])
def test_every_line_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    out, err = io.StringIO(), io.StringIO()
    busy(RichDisplay(out, err, width=width))
    for line in (out.getvalue() + err.getvalue()).splitlines():
        assert len(line.rstrip()) <= width
    table = out.getvalue()
    assert "…" not in table
    for word in ("[-170.1, 180.5]", "11.8k", "26.5k", "48k", "1.7 s", "all"):
        assert word in table


def test_columns_appear_only_where_they_say_something() -> None:
    assert "pilots" not in layout([row("vdn", 0)]).headers
    assert "pilots" in layout(ROWS).headers
    assert "task" not in layout(ROWS).headers
    assert layout([row("vdn", 0), row("vdn", 0, task="matrix/penalty-5")]).headers[0] == "task"


def test_what_is_missing_is_shown_as_missing() -> None:
    empty = dict.fromkeys(row("vdn", 0)) | {"algo": "vdn", "task": "t"}
    cells = layout([empty]).cells[0]
    assert cells[:4] == ("vdn", "all", "–", "–")
    assert "nan" not in " ".join(layout([row("vdn", 0, return_mean=float("nan"))]).cells[0])


def test_unknown_pilot_steps_are_not_shown_as_none_spent() -> None:
    table = layout([row("vdn", 0, pilot_steps=0), row("qllm", 0, pilot_steps=None)])
    column = table.headers.index("pilots")
    assert [cells[column] for cells in table.cells] == ["0", "–"]
    assert "not recorded" in " ".join(table.notes)


def test_paired_differences_stand_under_the_table() -> None:
    rows = [row("qllm", seed, return_mean=10.0 + seed + 0.1 * seed**2) for seed in range(3)]
    rows += [row("qllm", None), row("iql", 0, return_mean=3.0)]
    rows += [row("vdn", seed, return_mean=8.0 + seed) for seed in range(3)]
    notes = " ".join(layout(rows).notes)
    assert "With the same seed, qllm minus vdn is 2.17 [1.65, 2.68] on 3 seeds" in notes
    assert "iql minus vdn is -5.00 on 1 seed: without an interval" in notes
    alone = " ".join(layout([row("iql", 0), row("qmix", 0, return_mean=1.0)]).notes)
    assert "qmix minus iql" in alone, "where no plain sum was trained, the first is the reference"
    unfinished = [row("vdn", 0), row("qmix", 0, status="running")]
    assert "minus" not in " ".join(layout(unfinished).notes)


def test_a_seeds_row_has_a_mean_and_only_an_algorithms_an_iqm() -> None:
    table = layout([row("vdn", 0), row("vdn", None, return_iqm=170.0)])
    at = table.headers.index("IQM")
    assert [cells[at] for cells in table.cells] == ["", "170.0"]
    assert "best" not in table.headers
