"""The list of runs, key by key, and pictures of it, of a run and of the help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from tui_screens import (
    asked,
    drawn,
    drive,
    listed,
    notice,
    open_run,
    runs,
    shown,
    told,
    until,
)
from tui_store import IDS, empty_store, freeze

from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.screens.compare import CompareScreen
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.questions import AskScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.screens.synthesis import SynthesisScreen
from qllm.tui.widgets.run_rows import TrainingsTable


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
    started: list[tuple[str, ...]] = []

    class Started:
        pid, log, command = 1, Path("log"), "qllm resume 19"

    def start(words: tuple[str, ...], home: Path) -> Started:
        started.append(tuple(words))
        return Started()

    monkeypatch.setattr("qllm.tui.control.start_job", start)

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


LOOKS = [
    *(("runs", "116.1", size) for size in SIZES),
    *(("run", "178.0", size) for size in SIZES),
    ("help", "Keys", (80, 24)),
]


@pytest.mark.parametrize(
    ("place", "words", "size"),
    LOOKS,
    ids=[f"{place}-{words}-{size[0]}x{size[1]}" for place, words, size in LOOKS],
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
