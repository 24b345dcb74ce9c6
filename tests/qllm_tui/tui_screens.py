"""Helpers for tests of the list of runs, of one run and of what every screen can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static
from tui_driving import laid_out

from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.reading.run import RunView
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.runs import RunsScreen
from qllm.tui.widgets.rows import RowList

Steps = Callable[[QllmApp, Pilot[Any]], Awaitable[None]]


def drive(home: Path, steps: Steps, size: tuple[int, int] = (120, 36)) -> QllmApp:
    """Open the app, wait for the list of runs, and do something."""

    async def work() -> QllmApp:
        app = QllmApp(home)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
            await until(pilot, lambda: "reading" not in notice(app) or bool(listed(app)))
            await steps(app, pilot)
            await laid_out(app)
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
