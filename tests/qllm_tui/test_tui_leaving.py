"""A screen is left, and the app closed, whatever of the screen is there already."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from tui_screens import drive, until

from qllm.tui.app import QllmApp
from qllm.tui.screens.launch import LaunchScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.screens.system import SystemScreen

OPENED: list[Callable[[QllmApp], object]] = [
    lambda app: app.action_launch(),
    lambda app: app.push_screen(LaunchScreen(like=1)),
    lambda app: app.open_run(1, "run"),
    lambda app: app.open_run(1, "synth"),
    lambda app: app.push_screen(SystemScreen()),
]


@pytest.mark.parametrize("opens", OPENED)
def test_a_screen_is_left_before_it_is_there(home: Path, opens: Callable[[QllmApp], Any]) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        for after in (0.0, 0.05, 0.2):
            opens(app)
            if after:
                await pilot.pause(after)
            app.action_up()
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.pause(0.2)

    drive(home, steps)


def test_the_app_is_closed_before_its_form_is_there(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        app.action_launch()
        await app.run_action("quit")
        end = time.monotonic() + 30
        while app.is_running and time.monotonic() < end:
            await pilot.pause(0.05)

    assert drive(home, steps).return_code == 0
