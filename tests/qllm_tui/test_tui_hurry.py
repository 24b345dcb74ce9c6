"""A screen that is left at once, before it has been read or even laid out, harms nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.pilot import Pilot
from tui_driving import drive, until

from qllm.tui.app import QllmApp
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.widgets.rows import RowList

_KEYS = {
    "run": ("end", "enter"),
    "search": ("down", "enter"),
    "comparison": ("end", "v"),
    "form": ("n",),
    "machine": ("y",),
    "help": ("question_mark",),
}


@pytest.mark.parametrize("turns", [0, 8])
@pytest.mark.parametrize("screen", _KEYS)
def test_a_screen_may_be_left_at_once(home: Path, screen: str, turns: int) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.query_one(RowList).count > 3)
        for key in (*_KEYS[screen], "escape"):
            app.simulate_key(key)  # all at once, as keys that are typed ahead
            for _ in range(turns):
                await asyncio.sleep(0)
        await pilot.pause()
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("down")

    drive(home, steps)


@pytest.mark.parametrize("turns", [20])
@pytest.mark.parametrize("screen", _KEYS)
def test_the_app_may_be_closed_while_a_screen_opens(home: Path, screen: str, turns: int) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.query_one(RowList).count > 3)
        for key in _KEYS[screen]:
            app.simulate_key(key)
            for _ in range(turns):
                await asyncio.sleep(0)
        app.exit()
        await asyncio.sleep(0.1)

    drive(home, steps)  # raises what the app ended with
