"""The list of runs, the screen of one run and what every screen can do, key by key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Input, Static, TabbedContent
from tui_store import IDS, empty_store, freeze

from qllm.store.store import open_store
from qllm.tui.app import FROZEN, QllmApp
from qllm.tui.reading.run import RunView
from qllm.tui.screens.asking import AskScreen
from qllm.tui.screens.compare import CompareScreen
from qllm.tui.screens.help import HelpScreen, key_rows
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.screens.synthesis import SynthesisScreen
from qllm.tui.screens.system import SystemScreen
from qllm.tui.widgets.chart import Chart, limits
from qllm.tui.widgets.rows import RowList
from qllm.tui.widgets.trainings import TrainingsTable

Steps = Callable[[QllmApp, Pilot[Any]], Awaitable[None]]


def drive(home: Path, steps: Steps, size: tuple[int, int] = (120, 36)) -> QllmApp:
    """Open the app, wait for the list of runs, and do something."""

    async def work() -> QllmApp:
        app = QllmApp(home)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            await until(pilot, lambda: "reading" not in notice(app) or bool(listed(app)))
            await steps(app, pilot)
        return app

    return asyncio.run(work())


async def until(pilot: Pilot[Any], true: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        await pilot.pause(0.02)


def runs(app: QllmApp) -> RowList:
    return app.screen.query_one("#runs", RowList)


def listed(app: QllmApp) -> list[int]:
    found = app.screen.query("#runs")
    return [row.key for row in found.first(RowList)._rows] if found else []


def text_of(app: QllmApp, place: str) -> str:
    return str(app.screen.query_one(place, Static).render())


def notice(app: QllmApp) -> str:
    return text_of(app, "#notice") if app.screen.query("#notice") else ""


def told(app: QllmApp) -> str:
    """What the app said in a corner of the screen."""
    return "\n".join(notification.message for notification in app._notifications)


def drawn(app: QllmApp) -> str:
    """Everything on the screen, as text."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(part.text for part in line) for line in lines[:height])[: width * 99]


def asked(home: Path) -> list[tuple[int, str]]:
    with open_store(home, readonly=True) as store:
        return [(c.run_id, c.name) for c in store.commands.pending(list(range(1, 40)))]


async def open_run(app: QllmApp, pilot: Pilot[Any], run_id: int) -> RunScreen:
    runs(app).go_to(run_id)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(app.screen, RunScreen))
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen._view is not None)
    await pilot.pause()
    return screen


def shown(screen: RunScreen) -> RunView:
    assert screen._view is not None
    return screen._view


# -- the list --------------------------------------------------------------------------------


def test_every_run_is_listed_with_a_glyph_and_a_word_for_its_state(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        assert listed(app) == [27, 24, 23, 21, 19, 17, 15, 8, 1]
        await until(pilot, lambda: "161." in drawn(app))
        for word in ("◌ queued", "▶ running", "⏸ paused", "† died", "■ stopped", "✗ failed"):
            assert word in drawn(app)

    drive(home, steps)


def test_typing_filters_and_escape_shows_all(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash", *"train qmix")
        assert listed(app) == [24, 15]
        await pilot.press("down", "enter")
        assert runs(app).key == 15
        assert runs(app).has_focus
        assert "qmix" in notice(app) or "run 15" in notice(app)
        await pilot.press("slash", *"zzz")
        assert listed(app) == []
        assert "esc shows all" in notice(app)
        await pilot.press("escape")
        assert len(listed(app)) == 9
        assert not app.screen.query_one(Input).display

    drive(home, steps)


def test_the_cursor_stays_with_its_run_when_new_ones_arrive(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await pilot.press("down", "down")
        assert runs(app).key == 23
        with open_store(home) as store:
            for _ in range(3):
                store.runs.create("train", "matrix/climbing", config={}, command="", versions={})
        await until(pilot, lambda: len(listed(app)) == 12)
        assert runs(app).key == 23
        await pilot.press("home")
        assert runs(app).key == 30
        await pilot.press("end", "pageup", "pagedown", "k", "j")
        assert runs(app).key == 1

    drive(home, steps)


def test_marked_runs_are_compared(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(8)
        await pilot.press("space", "space")
        assert runs(app).marked == {8, 1}
        await until(pilot, lambda: "marked: 1, 8" in notice(app))
        await pilot.press("v")
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.run_ids == (1, 8)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)

    drive(home, steps)


def test_one_marked_run_is_not_compared_but_the_algorithms_of_one_run_are(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(24)
        await pilot.press("v")
        await until(pilot, lambda: "mark two runs or more with space" in told(app))
        await pilot.press("space", "v")
        await until(pilot, lambda: "mark a second run with space" in told(app))
        assert isinstance(app.screen, RunsScreen)
        runs(app).go_to(24)
        await pilot.press("space")
        runs(app).go_to(8)
        await pilot.press("v")
        assert isinstance(app.screen, CompareScreen)
        assert app.screen.run_ids == (8,)

    drive(home, steps)


def test_a_stop_is_confirmed_and_travels_through_the_store(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(24)
        await pilot.press("s")
        assert isinstance(app.screen, AskScreen)
        await pilot.press("n")
        assert asked(home) == []
        await pilot.press("s", "y")
        await until(pilot, lambda: asked(home) == [(24, "stop")])
        runs(app).go_to(8)
        await pilot.press("s")
        assert isinstance(app.screen, RunsScreen)  # nothing to stop, nothing to confirm

    drive(home, steps)


def test_marks_that_are_left_over_do_not_take_a_stop_from_the_run_under_the_cursor(
    home: Path,
) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        for run_id in (8, 1):
            runs(app).go_to(run_id)
            await pilot.press("space")
        await pilot.press("v", "escape")
        assert runs(app).marked == {8, 1}
        runs(app).go_to(24)
        await pilot.press("s")
        assert isinstance(app.screen, AskScreen)
        assert "Stop run 24 (train matrix/climbing, qmix)?" in drawn(app)
        await pilot.press("n")
        runs(app).go_to(21)
        await pilot.press("space", "s")  # now one of the marked runs is at work
        assert isinstance(app.screen, AskScreen)
        assert app.screen._question == (
            "Stop run 21 (train matrix/climbing, iql)? It saves a checkpoint first "
            "(run 8 is finished, run 1 is finished)."
        )
        await pilot.press("y")
        await until(pilot, lambda: asked(home) == [(21, "stop")])

    drive(home, steps)


def test_the_keys_offered_fit_the_run_under_the_cursor(home: Path) -> None:
    def offered(app: QllmApp) -> set[str]:
        keys = ("stop", "resume", "trainings")
        bar = drawn(app).splitlines()[-1]
        return {key for key in keys if f" {key} " in bar}

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        for run_id, keys in (
            (IDS.pipeline, {"trainings"}),
            (IDS.running, {"stop", "trainings"}),
            (IDS.paused, {"stop", "resume", "trainings"}),
            (IDS.died, {"resume", "trainings"}),
            (IDS.queued, set()),
        ):
            runs(app).go_to(run_id)
            await until(pilot, lambda keys=keys: offered(app) == keys)  # type: ignore[misc]

    drive(home, steps)


def test_a_run_folds_out_its_trainings_and_remembers_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(IDS.pipeline)
        await pilot.press("right")
        await until(pilot, lambda: listed(app)[-7:] == [1, 2, 3, 4, 5, 6, 7])
        await until(pilot, lambda: drawn(app).count("seed 1") == 2)
        runs(app).go_to(3)
        await pilot.press("space")
        assert runs(app).marked == set()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        screen = app.screen
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen._view is not None)
        assert screen.run_id == IDS.pipeline
        assert shown(screen).training == 3
        assert screen.query_one(TrainingsTable).key == 3
        await pilot.press("escape")
        assert len(listed(app)) == 15
        await pilot.press("left")
        assert len(listed(app)) == 9
        assert runs(app).key == IDS.pipeline
        await pilot.pause(0.4)
        assert len(listed(app)) == 9

    drive(home, steps)


def test_a_filter_keeps_the_trainings_of_a_run_with_it(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(IDS.pipeline)
        await pilot.press("right")
        await until(pilot, lambda: len(listed(app)) == 15)
        await pilot.press("slash", *"finished qllm")
        assert listed(app) == [1, 2, 3, 4, 5, 6, 7]

    drive(home, steps)


def test_what_acts_on_a_run_acts_on_the_whole_of_it_from_its_trainings(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(IDS.running)
        await pilot.press("right")
        await until(pilot, lambda: 25 in listed(app))
        runs(app).go_to(25)
        await pilot.press("s", "y")
        await until(pilot, lambda: asked(home) == [(24, "stop")])
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen._of == 24

    drive(home, steps)


def test_the_list_says_whose_numbers_and_how_a_search_stands(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(IDS.pipeline)
        await until(pilot, lambda: "the numbers are those of qllm" in notice(app))
        assert "qllm, vdn" in drawn(app)
        runs(app).go_to(IDS.waiting)
        await until(pilot, lambda: "round 1 of 2" in notice(app))
        assert "1 accepted" in notice(app)
        assert "best pilot return 157.0 after 5k steps" in notice(app)
        assert "✓1 ✗1" in drawn(app)

    drive(home, steps)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((120, 36), ["left/took", "began", "1m 36s", "vdn, qmix"]),
        ((80, 24), ["status", "task", "algo", "steps", "last", "best", "qllm, vdn"]),
        ((60, 15), ["status", "task", "algo", "last", "qllm, vdn"]),
    ],
    ids=str,
)
def test_the_columns_that_tell_most_survive_in_a_narrow_terminal(
    home: Path, size: tuple[int, int], words: list[str]
) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: all(word in drawn(app) for word in words))

    drive(home, steps, size)


def test_resume_starts_a_job_of_its_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qllm.tui import jobs

    started: list[tuple[str, ...]] = []

    class Started:
        pid, log, command = 1, Path("log"), "qllm resume 19"

    def start(words: tuple[str, ...], home: Path) -> Started:
        started.append(tuple(words))
        return Started()

    monkeypatch.setattr(jobs, "start_job", start)

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(19)
        await until(pilot, lambda: "r resumes it" in notice(app))
        await pilot.press("r")
        await until(pilot, lambda: started == [("resume", "19")])
        runs(app).go_to(21)
        await pilot.press("r")  # a paused job lives: it is asked
        await until(pilot, lambda: asked(home) == [(21, "resume")])
        runs(app).go_to(8)
        await pilot.press("r")
        await pilot.pause(0.1)
        assert len(started) == 1

    drive(home, steps)


def test_a_clone_opens_the_form_like_the_run(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(15)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        assert isinstance(app.screen, LaunchScreen)
        assert app.screen._of == 15

    drive(home, steps)


def test_enter_opens_the_screen_for_the_kind(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(23)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SynthesisScreen))
        await pilot.press("escape")
        await open_run(app, pilot, 24)

    drive(home, steps)


@pytest.mark.parametrize("what", ["missing", "empty", "damaged"])
def test_a_store_that_has_nothing_to_show_is_told_in_a_line(tmp_path: Path, what: str) -> None:
    home = tmp_path / "runs"
    if what == "empty":
        empty_store(home)
    elif what == "damaged":
        home.mkdir()
        (home / "qllm.db").write_text("no database" * 1_000, encoding="utf-8")

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        said = "damaged or no database" if what == "damaged" else "press n to start one"
        await until(pilot, lambda: said in notice(app))

    drive(home, steps)


# -- one run ---------------------------------------------------------------------------------


def test_a_run_shows_its_facts_curves_trainings_and_metrics(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.pipeline)
        await until(pilot, lambda: "epsilon" in drawn(app))
        picture = drawn(app)
        for words in ("run 1", "✓ finished", "100%", "a qllm ×3", "b vdn ×3", "environment steps"):
            assert words in picture
        await pilot.press("x")
        await until(pilot, lambda: "seconds of training" in drawn(app))
        await pilot.press("m")
        await until(pilot, lambda: "smoothed 0.6" in drawn(app))

    drive(home, steps)


def test_zooming_and_panning_move_the_limits_and_0_shows_all(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        screen = await open_run(app, pilot, IDS.pipeline)
        plot = screen.query_one(Chart).plot
        await until(pilot, lambda: plot._x_max == 20_000)
        await pilot.press("plus", "plus")
        near = plot._x_max - plot._x_min
        assert near < 20_000
        await pilot.press("minus")
        assert near < plot._x_max - plot._x_min < 20_000
        at = plot._x_min
        await pilot.press("right_square_bracket")
        assert plot._x_min != at
        await pilot.press("left_square_bracket", "0")
        await until(pilot, lambda: (plot._x_min, plot._x_max) == (0, 20_000))

    drive(home, steps)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ((97.0, 172.0), (90.0, 180.0)),
        ((0.05, 1.0), (0.0, 1.0285)),
        ((125.0, 125.0), (112.5, 137.5)),
        ((0.0,), (-1.0, 1.0)),
        ((float("nan"),), (None, None)),
    ],
    ids=str,
)
def test_the_axis_covers_the_curves_from_tick_to_tick(
    values: tuple[float, ...], ends: tuple[float | None, float | None]
) -> None:
    found = limits(values)
    assert found == ends if None in ends else found == pytest.approx(ends)


def test_each_pane_comes_with_its_number(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        screen = await open_run(app, pilot, IDS.failed)
        for key, name, words in (
            ("2", "metrics", "td_error_abs"),
            ("3", "log", "attempt 1 begins"),
            ("4", "configuration", "td_lambda"),
            ("5", "system", "4242 on elsewhere"),
            ("1", "curves", "algo"),
        ):
            await pilot.press(key)
            assert screen.query_one("#panes", TabbedContent).active == name
            await until(pilot, lambda words=words: words in drawn(app))  # type: ignore[misc]
        assert "loss is not finite" in drawn(app)

    drive(home, steps)


def test_another_training_brings_its_metrics_and_enter_plots_one(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        screen = await open_run(app, pilot, IDS.pipeline)
        assert shown(screen).training == 2
        assert screen.query_one(TrainingsTable).has_focus
        await pilot.press("down", "down")
        await until(pilot, lambda: shown(screen).training == 4)
        await pilot.press("2", "down", "enter")
        await until(pilot, lambda: "loss" in text_of(app, "#legend-line"))
        assert screen.query_one("#panes", TabbedContent).active == "curves"
        screen.query_one(TrainingsTable).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "return" in text_of(app, "#legend-line"))

    drive(home, steps)


def test_a_job_is_paused_continued_and_stopped_from_its_screen(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.running)
        await pilot.press("p")
        await until(pilot, lambda: asked(home) == [(24, "pause")])
        await pilot.press("s", "y")
        await until(pilot, lambda: asked(home)[1:] == [(24, "stop")])
        await pilot.press("escape")
        await open_run(app, pilot, IDS.paused)
        await pilot.press("p")
        await until(pilot, lambda: asked(home)[2:] == [(21, "resume")] or len(asked(home)) == 3)
        assert (21, "resume") in asked(home)

    drive(home, steps)


def test_the_keys_of_a_run_fit_its_state(home: Path) -> None:
    def offered(app: QllmApp) -> set[str]:
        bar = drawn(app).splitlines()[-1]
        return {key for key in ("pause", "go on", "stop", "resume") if f" {key} " in bar}

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        for run_id, keys in (
            (IDS.pipeline, set[str]()),
            (IDS.running, {"pause", "stop"}),
            (IDS.paused, {"go on", "stop"}),
            (IDS.died, {"resume"}),
            (IDS.stopped, {"resume"}),
        ):
            await open_run(app, pilot, run_id)
            await until(pilot, lambda keys=keys: offered(app) == keys)  # type: ignore[misc]
            await pilot.press("escape")

    drive(home, steps)


def test_a_run_at_work_says_since_when_and_one_that_ended_how_long_it_took(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.running)
        await until(pilot, lambda: "running for 1m 00s" in drawn(app))
        assert "took" not in drawn(app)
        assert "optimum 275 (25 steps × 11)" in drawn(app)
        await pilot.press("escape")
        await open_run(app, pilot, IDS.pipeline)
        await until(pilot, lambda: "took 1m 36s" in drawn(app))

    drive(home, steps)


def test_a_run_that_searches_shows_its_search_and_no_made_up_axes(home: Path) -> None:
    with open_store(home) as store:
        run_id = store.runs.create(
            "run", "matrix/climbing", config={"synth": {"rounds": 4}}, command="", versions={}
        )
        store.runs.begin(run_id)

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: run_id in listed(app))
        screen = await open_run(app, pilot, run_id)
        await until(pilot, lambda: "round 0 of 4" in drawn(app))
        assert "g shows the search" in drawn(app)
        assert not screen.query_one(Chart).display
        assert "environment steps" not in drawn(app)

    drive(home, steps)


def test_a_metric_is_drawn_over_all_seeds_of_the_algorithm(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        screen = await open_run(app, pilot, IDS.pipeline)
        await pilot.press("2", "down")
        await until(pilot, lambda: " enter plot " in drawn(app))
        await pilot.press("enter")
        await until(pilot, lambda: "loss" in text_of(app, "#legend-line"))
        await until(pilot, lambda: "a qllm ×3" in text_of(app, "#legend-line"))
        assert "[" in text_of(app, "#legend-line")  # an interval over seeds
        screen.query_one(TrainingsTable).focus()
        await pilot.press("end")
        await until(pilot, lambda: "a vdn ×3" in text_of(app, "#legend-line"))
        assert " enter returns " in drawn(app)

    drive(home, steps)


def test_log_and_system_of_a_finished_run_tell_what_is_known(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.pipeline)
        await pilot.press("3")
        await until(pilot, lambda: "training 2 (qllm, seed 0) begins" in drawn(app))
        assert "went to the terminal or the script that started it" in drawn(app)
        await pilot.press("5")
        await until(pilot, lambda: "25,539 parameters" in drawn(app))
        assert "torch 2.13.0" in drawn(app)

    drive(home, steps)


def test_a_run_that_died_says_so(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.died)
        await until(pilot, lambda: "its process is gone" in drawn(app))
        assert "† died" in drawn(app)

    drive(home, steps)


def test_only_a_whole_run_has_a_search(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await open_run(app, pilot, IDS.comparison)
        await pilot.press("g")
        assert isinstance(app.screen, RunScreen)
        await pilot.press("escape")
        await open_run(app, pilot, IDS.pipeline)
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, SynthesisScreen))

    drive(home, steps)


def test_hostile_names_and_errors_are_shown_and_never_obeyed(home: Path) -> None:
    bad = "[red]x[/red] \x1b[31m\x1b]0;t\x07 [link=https://a.b]y[/link]"
    with open_store(home) as store:
        run_id = store.runs.create("train", bad, config={"a": bad}, command=bad, versions={})
        store.runs.finish(run_id, "failed", error=bad)

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: run_id in listed(app))
        runs(app).go_to(run_id)
        await until(pilot, lambda: "[red]x[/red]" in notice(app))
        await open_run(app, pilot, run_id)
        for key in "1345":
            await pilot.press(key)
            await pilot.pause(0.05)
            assert "\x1b" not in drawn(app)
            assert "[red]x[/red] ␛[31m" in drawn(app)

    drive(home, steps)


# -- every screen ----------------------------------------------------------------------------


def test_freezing_stops_the_display_and_not_what_is_read_afterwards(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await pilot.press("f")
        await until(pilot, lambda: FROZEN in drawn(app))
        await pilot.pause(0.5)
        with open_store(home) as store:
            store.runs.create("train", "matrix/climbing", config={}, command="", versions={})
        await pilot.pause(0.7)
        assert len(listed(app)) == 9
        await open_run(app, pilot, IDS.failed)  # a screen with nothing on it is filled once
        await pilot.press("escape", "f")
        await until(pilot, lambda: len(listed(app)) == 10)
        assert FROZEN not in drawn(app)

    drive(home, steps)


def test_help_lists_the_bindings_themselves(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        keys = {what: (key, more) for key, what, more in key_rows(app.screen)}
        for binding in (*RunsScreen.BINDINGS, *QllmApp.BINDINGS):
            assert isinstance(binding, Binding)
            if app.screen.check_action(binding.action, ()):
                assert binding.description in keys
        assert "stop" not in keys  # the run under the cursor has not begun
        assert keys["filter"] == ("/", "by words of a run")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "by words of a run" in drawn(app)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)

    drive(home, steps)


def test_the_palette_offers_what_the_screen_and_the_app_can_do(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        titles = [command.title for command in app.get_system_commands(app.screen)]
        for title in ("open", "filter", "compare", "freeze", "picture", "suspend", "Theme"):
            assert title in titles
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"system")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SystemScreen))

    drive(home, steps)


def test_system_new_copy_and_picture(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        runs(app).go_to(15)
        await pilot.press("ctrl+y")
        assert app.clipboard == "qllm train matrix/climbing algorithm=qmix"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: len(list((home / "pictures").glob("*.svg"))) == 1)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, SystemScreen))
        await pilot.press("escape", "n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))

    drive(home, steps)


def test_q_closes_the_app(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        await pilot.press("q")
        await pilot.pause()

    assert drive(home, steps).return_code == 0


# -- pictures --------------------------------------------------------------------------------

SIZES = [(120, 36), (80, 24), (60, 15)]


def look_at(place: str, words: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Before the picture: open something, and wait until it is filled and stands still."""

    async def before(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, QllmApp)
        await until(pilot, lambda: bool(listed(app)))
        if place == "runs":
            await until(pilot, lambda: all(r.value.returns for r in runs(app)._rows))
        elif place == "help":
            await pilot.press("question_mark")
        else:
            await open_run(app, pilot, IDS.pipeline)
            await until(pilot, lambda: "g search" in drawn(app))
        await until(pilot, lambda: words in drawn(app))
        app.frozen = True
        await pilot.pause(0.4)

    return before


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("place", "words"), [("runs", "116.1"), ("run", "178.0"), ("help", "Keys")]
)
def test_picture(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    snap_compare: Any,
    size: tuple[int, int],
    place: str,
    words: str,
) -> None:
    freeze(monkeypatch)
    app = QllmApp(home)
    assert snap_compare(app, terminal_size=size, run_before=look_at(place, words))
