"""The form: every key, live checks, a start that works, one that does not, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tui_store
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select, Static
from tui_driving import drive, seen, until
from tui_store import IDS

from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.form import answer
from qllm.tui.jobs import StartedJob
from qllm.tui.screens import launch
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.setting import SettingRow, SettingScreen

SIZES = [(120, 36), (80, 24), (60, 15)]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PAUSE_S", 0.03)


async def opened(app: QllmApp, pilot: Pilot[None], like: int | None = None) -> LaunchScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = LaunchScreen(like)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.checked is not None and screen.like is None)
    return screen


async def put(pilot: Pilot[None], screen: LaunchScreen, path: str, text: str) -> None:
    """Type a common setting."""
    await until(pilot, lambda: any(r.setting.path == path for r in screen.query(SettingRow)))
    row = next(r for r in screen.query(SettingRow) if r.setting.path == path)
    box = row.query_one(Input)
    box.focus()
    box.value = ""
    await pilot.press(*text)
    await until(pilot, lambda: screen.draft.values.get(path) == text and screen.checked is not None)


def verdict(screen: LaunchScreen) -> str:
    return str(screen.query_one("#verdict", Static).content)


def test_what_is_typed_is_checked_shown_and_copied(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert screen.words == ("run", "matrix/climbing")
        await put(pilot, screen, "steps", "0")
        assert screen.checked is not None
        assert screen.checked.problem == "steps=0: must be an integer, at least 1"
        assert "✗ steps=0" in seen(screen)
        await pilot.press("ctrl+r")
        assert screen.job is None
        assert verdict(screen).startswith("✗ not started: steps=0")
        await put(pilot, screen, "steps", "1e6")
        assert "✓ can be started" in seen(screen)
        assert "steps: 1000000 " in seen(screen)
        await put(pilot, screen, "steps", "500")
        await pilot.press("ctrl+y")
        assert app.clipboard == "qllm run matrix/climbing steps=500"
        await pilot.press("ctrl+l")
        assert app.clipboard == "task: matrix/climbing\nsteps: 500\n"

    drive(tmp_path, steps)


def test_every_command_has_its_settings(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        for command in ("synth", "train", "compare"):
            screen.query_one("#kind", Select).value = command
            wanted = (command, "matrix/climbing")
            await until(pilot, lambda w=wanted: screen.words == w and screen.checked is not None)
            shown = {row.setting.path for row in screen.query(SettingRow)}
            assert ("synth.coder" in shown) == (command == "synth")
            assert ("algorithm" in shown) == (command == "train")
            assert ("algorithms" in shown) == (command == "compare")
            assert screen.words == (command, "matrix/climbing")

    drive(tmp_path, steps)


def test_a_family_asks_for_its_number_and_a_card_of_ones_own_for_its_path(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        tasks, where = screen.query_one("#task", Select), screen.query_one("#where", Input)
        tasks.value = "matrix/penalty-{k}"
        await until(pilot, lambda: screen.words == ("run", "matrix/penalty-0"))
        where.value = "101"
        await until(pilot, lambda: screen.checked is not None)
        assert screen.checked is not None
        assert "k is 0 to 100" in screen.checked.problem
        where.value = "25"
        await until(pilot, lambda: screen.words == ("run", "matrix/penalty-25"))
        tasks.value = "\0file"
        await until(pilot, lambda: where.value == "")
        where.value = "mine.yaml"
        await until(pilot, lambda: screen.checked is not None)
        assert screen.words == ("run", "mine.yaml")
        assert screen.checked is not None
        assert "no card at 'mine.yaml'" in screen.checked.problem

    drive(tmp_path, steps)


def test_any_other_setting_is_found_changed_and_set_back(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("ctrl+f", *"learner.lr")
        others = screen.query_one("#others", OptionList)
        await until(pilot, lambda: others.option_count == 2)
        await pilot.press("tab", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press(*"3e-4", "enter")
        await until(pilot, lambda: screen.draft.values.get("learner.lr") == "3e-4")
        assert screen.words[-1] == "learner.lr=3e-4"
        assert "changed" in seen(screen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert screen.draft.values["learner.lr"] == "3e-4"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "learner.lr" not in screen.draft.values)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("5", "ctrl+s")
        await until(pilot, lambda: screen.draft.values.get("learner.lr") == "5")

    drive(tmp_path, steps)


def test_what_was_typed_is_there_again_after_one_has_left(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#kind", Select).value = "compare"
        await until(pilot, lambda: screen.draft.command == "compare")
        screen.query_one("#task", Select).value = "matrix/penalty-{k}"
        await put(pilot, screen, "steps", "500")
        screen.query_one("#where", Input).value = "25"
        await until(pilot, lambda: "matrix/penalty-25" in screen.words)
        for _ in range(2):
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, LaunchScreen))
            again = await opened(app, pilot)
            await until(pilot, lambda a=again: a.draft.values == {"steps": "500"})
            assert again.words == ("compare", "matrix/penalty-25", "steps=500")
        assert "as you left it: ctrl+n clears it" in verdict(again)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: again.words == ("compare", "matrix/climbing"))
        await until(pilot, lambda: again.checked is not None)
        assert "as you left it" not in verdict(again)

    drive(tmp_path, steps)


def test_a_task_alone_and_a_form_left_before_it_was_read_are_kept_too(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#task", Select).value = "matrix/penalty-{k}"
        await until(pilot, lambda: screen.words == ("run", "matrix/penalty-0"))
        await pilot.press("escape")
        await app.push_screen(LaunchScreen())
        await pilot.press("escape")
        again = await opened(app, pilot)
        assert again.words == ("run", "matrix/penalty-0")

    drive(tmp_path, steps)


def test_what_was_typed_for_one_command_waits_while_another_is_shown(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await put(pilot, screen, "synth.rounds", "7")
        kind = screen.query_one("#kind", Select)
        kind.value = "train"
        await until(pilot, lambda: screen.words == ("train", "matrix/climbing"))
        kind.value = "synth"
        await until(pilot, lambda: screen.words == ("synth", "matrix/climbing", "synth.rounds=7"))

    drive(tmp_path, steps)


def test_a_clone_is_kept_apart_and_cleared_to_its_run(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.comparison)
        await until(pilot, lambda: bool(screen.draft.values) and screen.checked is not None)
        of_the_run = dict(screen.draft.values)
        await put(pilot, screen, "steps", "77")
        await pilot.press("escape")
        fresh = await opened(app, pilot)
        assert fresh.draft.untouched
        await pilot.press("escape")
        again = await opened(app, pilot, IDS.comparison)
        assert again.draft.values["steps"] == "77"
        await pilot.press("ctrl+n")
        await until(pilot, lambda: again.draft.values == of_the_run)

    drive(home, steps)


def test_down_goes_from_the_search_to_the_list_and_up_back(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        others = screen.query_one("#others", OptionList)
        for key in ("down", "enter"):
            await pilot.press("ctrl+f", *"learner.lr")
            await until(pilot, lambda: others.option_count == 2)
            await pilot.press(key)
            assert others.has_focus
            assert others.highlighted == 0
            assert "learner.lr: " in seen(screen)  # what it does stands in the help lines
            await pilot.press("up")
            assert screen.query_one("#filter", Input).has_focus

    drive(tmp_path, steps)


def test_a_search_finds_choices_and_values_and_says_when_there_is_nothing(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        others = screen.query_one("#others", OptionList)

        async def search(text: str) -> list[str | None]:
            screen.query_one("#filter", Input).value = text
            await pilot.pause(0.1)
            return [option.id for option in others.options]

        assert await search("sampler") == ["synth.coder"]
        await put(pilot, screen, "steps", "4711")
        assert await search("4711") == ["steps"]
        await pilot.press("ctrl+f", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "steps" not in screen.draft.values)
        assert await search("fault") == []
        assert "no setting has “fault”" in seen(screen)
        assert await search("tfcaf certificate") == []
        assert "run reads no setting with “tfcaf certificate”; train and compare can" in seen(
            screen
        )

    drive(tmp_path, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_help_lines_say_all_of_a_setting(size: tuple[int, int], tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        for row in screen.query(SettingRow):
            control, form = row.children[1], screen.query_one("#form")
            control.focus()
            wanted = f"{row.setting.path}: {row.setting.about}"
            await until(pilot, lambda w=wanted: w in " ".join(seen(screen).split()))
            await until(pilot, lambda c=control, f=form: f.region.contains_region(c.region))
            assert control.region.height == 1

    drive(tmp_path, steps, size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_long_paste_leaves_start_where_it_is(size: tuple[int, int], tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#first SettingRow Input", Input).value = "9" * 700
        await until(pilot, lambda: "9" * 700 in screen.words[-1] and screen.checked is not None)
        button = screen.query_one("#start").region
        assert button.height == 1
        assert screen.region.contains_region(button)
        assert screen.query_one("#about").region.height >= 1

    drive(tmp_path, steps, size)


def test_the_form_offers_no_keys_that_make_no_sense_in_it(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        said = {active.binding.description for active in screen.active_bindings.values()}
        assert not said & {"new", "freeze"}
        await pilot.press("n", "f")
        assert app.screen is screen
        assert not app.frozen

    drive(tmp_path, steps)


def test_a_form_is_locked_while_its_job_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "a.log"
    log.write_text("the sandbox starts\n")

    class Waits:
        returncode: int | None = None

    process = Waits()
    job = StartedJob(4711, log, "qllm run", process)  # type: ignore[arg-type]
    monkeypatch.setattr("qllm.tui.control.start_job", lambda *_: job)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await put(pilot, screen, "steps", "500")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.job is not None)
        await pilot.press("g", "7", "tab", "7")
        shown = " ".join(seen(screen).split())
        assert "▶ starting (" in shown
        assert "the sandbox starts" in shown
        assert screen.words == ("run", "matrix/climbing", "steps=500")
        assert "start" not in {a.binding.description for a in screen.active_bindings.values()}
        process.returncode = 3
        await until(pilot, lambda: "✗ the job ended with exit code 3" in seen(screen))
        await put(pilot, screen, "steps", "600")

    drive(tmp_path, steps)


def test_a_start_waits_for_the_check_and_what_is_wrong_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_PAUSE_S", 1.0)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        row = next(r for r in screen.query(SettingRow) if r.setting.path == "steps")
        row.query_one(Input).focus()
        await pilot.press("x", "ctrl+r")
        assert screen.job is None
        assert "checking" in verdict(screen)
        await until(pilot, lambda: "✗ not started: steps=x: must be an" in verdict(screen))
        assert screen.job is None

    drive(tmp_path, steps)


def test_like_a_run_takes_over_what_differs_from_the_defaults(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.comparison)
        await until(pilot, lambda: bool(screen.draft.values) and screen.checked is not None)
        with open_store(home, readonly=True) as store:
            run = store.runs.get(IDS.comparison)
        wanted, _ = answer.like("compare", run.config)
        assert screen.draft.command == "compare"
        assert screen.draft.values == wanted.values
        assert screen.draft.task == run.task

    drive(home, steps)


def test_a_run_that_is_not_there_leaves_the_form_as_it_is(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, 777)
        assert screen.draft.values == {}

    drive(home, steps)


def test_a_started_job_opens_its_run_and_goes_on_without_the_app(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        await pilot.press("f")
        screen = await opened(app, pilot)
        screen.query_one("#kind", Select).value = "train"
        await until(pilot, lambda: screen.draft.command == "train")
        await put(pilot, screen, "steps", "400")
        assert app.frozen  # which must not keep what one starts from being shown
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.job is not None)
        await until(pilot, lambda: "▶ starting" in seen(screen))
        await until(pilot, lambda: isinstance(app.screen, RunScreen), 90)
        assert [type(s) for s in app.screen_stack].count(LaunchScreen) == 0

    drive(tmp_path, steps)
    with open_store(tmp_path, readonly=True) as store:
        run = store.runs.get(1)
        assert run.command.startswith("qllm train matrix/climbing steps=400 --home")


def test_a_start_that_fails_is_shown_with_its_last_words(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#kind", Select).value = "train"
        await until(pilot, lambda: screen.draft.command == "train")
        await put(pilot, screen, "tfcaf", "nowhere.py")
        row = next(r for r in screen.query(SettingRow) if r.setting.path == "algorithm")
        row.query_one(Select).value = "qllm"
        await until(pilot, lambda: "algorithm=qllm" in screen.words and screen.checked is not None)
        await pilot.press("ctrl+r")
        # It may be over before anybody sees that it runs.
        await until(pilot, lambda: "✗ the job ended with exit code 2" in seen(screen), 90)
        assert "nowhere.py" in seen(screen)
        assert app.screen is screen

    drive(tmp_path, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_how_it_looks(
    size: tuple[int, int], tmp_path: Path, snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tui_store.freeze(monkeypatch)

    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, QllmApp)
        screen = await opened(app, pilot)
        await put(pilot, screen, "steps", "500")
        app.screen.set_focus(None)
        await pilot.pause()

    app = QllmApp(tmp_path)
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=before)
