"""On a terminal without colours every screen can be drawn, and nothing on it needs one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from tui_driving import drive, seen, segments, settled
from tui_store import IDS

from qllm.tui.app import QllmApp
from qllm.tui.glyphs import status_text
from qllm.tui.screens.candidate import CandidateScreen
from qllm.tui.screens.compare import CompareScreen

_OPENED: dict[str, Callable[[QllmApp], object]] = {
    "runs": lambda app: None,
    "run": lambda app: app.open_run(IDS.pipeline, "run"),
    "search": lambda app: app.open_run(IDS.waiting, "synth"),
    "candidate": lambda app: app.push_screen(CandidateScreen(IDS.refused_candidate)),
    "comparison": lambda app: app.push_screen(CompareScreen((IDS.pipeline, IDS.comparison))),
    "form": lambda app: app.action_launch(),
    "machine": lambda app: app.action_system(),
    "help": lambda app: app.action_help(),
}


@pytest.mark.parametrize("screen", _OPENED)
def test_every_screen_is_drawn_without_colours(
    home: Path, monkeypatch: pytest.MonkeyPatch, screen: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await pilot.pause()
        _OPENED[screen](app)
        await asyncio.wait_for(settled(pilot), 30)
        assert app.no_color
        assert len(seen(app.screen).split()) > 10
        drawn = [part.style.color for part in segments(app.screen) if part.style]
        triplets = {c.triplet for c in drawn if c is not None and c.triplet is not None}
        assert all(max(t) - min(t) <= 1 for t in triplets), "shades of grey only"

    drive(home, steps)


def test_states_are_told_apart_by_their_signs_alone() -> None:
    states = ("running", "finished", "failed", "stopped", "died", "paused", "queued")
    assert len({status_text(state).plain.split()[0] for state in states}) == len(states)
