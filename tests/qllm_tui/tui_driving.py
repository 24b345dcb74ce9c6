"""Helpers that drive the app in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.screen import Screen

from qllm.tui.app import QllmApp

Steps = Callable[[QllmApp, Pilot[None]], Awaitable[None]]


async def until(pilot: Pilot[Any], holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    for _ in range(round(seconds / 0.05)):
        await pilot.pause()
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come about")


def drive(
    home: Path, steps: Steps, size: tuple[int, int] = (120, 36), *, toasts: bool = False
) -> None:
    """Run the app without a terminal and let ``steps`` press its keys."""

    async def run() -> None:
        app = QllmApp(home)
        app.animation_level = "none"
        async with app.run_test(size=size, notifications=toasts) as pilot:
            await steps(app, pilot)
            await laid_out(app)

    asyncio.run(run())


async def laid_out(app: QllmApp) -> None:
    """Wait for the parts of the screen, which miss each other when the app is closed meanwhile."""
    done = asyncio.Event()
    if app.is_running and app.screen.call_after_refresh(done.set):
        async with asyncio.timeout(60):
            while app.is_running and not done.is_set():  # it may be closing already
                await asyncio.sleep(0.02)


def segments(screen: Screen[Any]) -> list[Any]:
    """Everything that is on the screen, as the terminal would get it."""
    compositor = screen._compositor
    return [segment for strip in compositor.render_strips() for segment in strip]


def seen(screen: Screen[Any]) -> str:
    """The words on the screen."""
    strips = screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


async def settled(pilot: Pilot[Any]) -> None:
    """Wait until the screen looks the same for a while, however slow the machine is."""
    last, same = "", 0
    for _ in range(100):
        await pilot.pause(0.15)
        now = seen(pilot.app.screen)
        same = same + 1 if now == last else 0
        if same >= 3:
            return
        last = now
    raise AssertionError("it does not come to rest")
