"""The screen of one run, key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TabbedContent
from tui_screens import (
    asked,
    drawn,
    drive,
    listed,
    notice,
    open_run,
    runs,
    shown,
    text_of,
    until,
)
from tui_store import IDS

from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.synthesis import SynthesisScreen
from qllm.tui.widgets.chart import Chart, limits
from qllm.tui.widgets.run_rows import TrainingsTable


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
