"""What every screen can do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textual.binding import Binding
from textual.pilot import Pilot
from tui_screens import (
    drawn,
    drive,
    listed,
    open_run,
    runs,
    until,
)
from tui_store import IDS

from qllm.store.store import open_store
from qllm.tui.app import FROZEN, QllmApp
from qllm.tui.screens.help import HelpScreen, key_rows
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.screens.system import SystemScreen


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


def test_a_theme_that_was_chosen_is_there_again(home: Path) -> None:
    async def choose(app: QllmApp, pilot: Pilot[Any]) -> None:
        app.theme = "nord"
        await pilot.pause()

    async def look(app: QllmApp, pilot: Pilot[Any]) -> None:
        assert app.theme == "nord"

    drive(home, choose)
    drive(home, look)
    for damaged in ("[]", "no json", '{"theme": "none such"}', '{"theme": 3}'):
        (home / "tui.json").write_text(damaged)
        drive(home, lambda app, pilot: asyncio.sleep(0))
