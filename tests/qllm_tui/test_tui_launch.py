"""The form: every key, live checks, a start that works, one that does not, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tui_store
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Select
from tui_driving import drive, seen, until
from tui_store import IDS

from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.form import answer, process
from qllm.tui.form.fields import Checked, Command, Offer, Prefilled
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.setting import SettingScreen
from qllm.tui.widgets.setting_row import SettingRow

SIZES = [(120, 36), (80, 24), (60, 15)]


class Here:
    """Answers in this process, which has the configuration already."""

    def offer(self) -> Offer:
        return answer.offer()

    def check(self, command: Command, task: str, settings: Sequence[str]) -> Checked:
        return answer.check(command, task, settings)

    def like(self, kind: Command, config: Mapping[str, Any]) -> Prefilled:
        return Prefilled(**asdict(answer.like(kind, config)))

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "shared", Here)


async def opened(app: QllmApp, pilot: Pilot[None], like: int | None = None) -> LaunchScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = LaunchScreen(like)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.checked is not None and screen.like is None)
    return screen


async def put(pilot: Pilot[None], screen: LaunchScreen, path: str, text: str) -> None:
    """Type a common setting."""
    row = next(r for r in screen.query(SettingRow) if r.setting.path == path)
    box = row.query_one(Input)
    box.focus()
    box.value = ""
    await pilot.press(*text)
    await until(pilot, lambda: screen.values.get(path) == text and screen.checked is not None)


def test_what_is_typed_is_checked_shown_and_copied(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert screen.words == ("run", "matrix/climbing")
        await put(pilot, screen, "steps", "0")
        assert screen.checked is not None
        assert "steps=0" in screen.checked.problem
        assert "✗ steps=0" in seen(screen)
        await pilot.press("ctrl+r")
        assert screen.job is None
        await put(pilot, screen, "steps", "500")
        assert "✓ can be started" in seen(screen)
        assert "steps: 500" in seen(screen)
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
        await until(pilot, lambda: screen.values.get("learner.lr") == "3e-4")
        assert screen.words[-1] == "learner.lr=3e-4"
        assert "changed" in seen(screen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert screen.values["learner.lr"] == "3e-4"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "learner.lr" not in screen.values)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingScreen))
        await pilot.press("5", "ctrl+s")
        await until(pilot, lambda: screen.values.get("learner.lr") == "5")

    drive(tmp_path, steps)


def test_what_was_typed_is_there_again_after_one_has_left(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#kind", Select).value = "compare"
        await until(pilot, lambda: screen.command == "compare")
        screen.query_one("#task", Select).value = "matrix/penalty-{k}"
        await put(pilot, screen, "steps", "500")
        screen.query_one("#where", Input).value = "25"
        await until(pilot, lambda: "matrix/penalty-25" in screen.words)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LaunchScreen))
        again = await opened(app, pilot)
        await until(pilot, lambda: again.values == {"steps": "500"})
        await until(pilot, lambda: again.words == ("compare", "matrix/penalty-25", "steps=500"))

    drive(tmp_path, steps)


def test_like_a_run_takes_over_what_differs_from_the_defaults(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, IDS.comparison)
        await until(pilot, lambda: bool(screen.values) and screen.checked is not None)
        with open_store(home, readonly=True) as store:
            run = store.runs.get(IDS.comparison)
        wanted = answer.like("compare", run.config)
        assert screen.command == "compare"
        assert screen.values == wanted.values
        assert screen.task_name == run.task

    drive(home, steps)


def test_a_run_that_is_not_there_leaves_the_form_as_it_is(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, 777)
        assert screen.values == {}

    drive(home, steps)


def test_a_started_job_opens_its_run_and_goes_on_without_the_app(tmp_path: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        screen.query_one("#kind", Select).value = "train"
        await until(pilot, lambda: screen.command == "train")
        await put(pilot, screen, "steps", "400")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.job is not None)
        await until(pilot, lambda: "▶ process" in seen(screen))
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
        await until(pilot, lambda: screen.command == "train")
        await put(pilot, screen, "tfcaf", "nowhere.py")
        row = next(r for r in screen.query(SettingRow) if r.setting.path == "algorithm")
        row.query_one(Select).value = "qllm"
        await until(pilot, lambda: "algorithm=qllm" in screen.words and screen.checked is not None)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: screen.job is not None)
        await until(pilot, lambda: screen.job is None, 90)
        shown = seen(screen)
        assert "✗ the job ended with exit code 2" in shown
        assert "nowhere.py" in shown
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
