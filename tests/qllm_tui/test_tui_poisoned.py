"""Screens on a store whose texts try to act on the terminal, or whose rows are damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from poisoned_store import ACTING, poison
from textual.pilot import Pilot
from tui_driving import segments
from tui_screens import drawn, drive, listed, runs, text_of, until
from tui_store import IDS

from qllm.tui.app import QllmApp
from qllm.tui.reading.launch import LikeQuery
from qllm.tui.reading.watch import Watcher
from qllm.tui.screens.candidate import CandidateScreen
from qllm.tui.screens.compare import CompareScreen


@pytest.mark.parametrize("kinds", [False, True])
def test_no_screen_lets_the_store_s_texts_act(kinds: bool, home: Path) -> None:
    poison(home, kinds=kinds)

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        async def look(*keys: str) -> None:
            for key in ("", *keys):
                await pilot.press(*([key] if key else []))
                await pilot.pause(0.15)
                acting = [s.text for s in segments(app.screen) if ACTING & set(s.text)]
                assert not acting, (app.screen, key)

        await look("right", "down", "down")
        runs(app).go_to(IDS.comparison)
        for kind, run_id, keys in (
            ("run", IDS.pipeline, "tab l m u"),
            ("run", IDS.failed, ""),
            ("synth", IDS.pipeline, "tab tab down"),
            ("synth", IDS.waiting, ""),
        ):
            app.open_run(run_id, kind)
            await look(*keys.split())
            await pilot.press("escape")
        for candidate in (IDS.accepted_candidate, IDS.refused_candidate):
            app.push_screen(CandidateScreen(candidate))
            await look("tab")
            await pilot.press("escape")
        app.push_screen(CompareScreen((IDS.pipeline, IDS.comparison)))
        await look()

    drive(home, steps, size=(150, 45))


def test_a_damaged_row_is_named_in_the_list_and_the_others_are_shown(home: Path) -> None:
    with sqlite3.connect(home / "qllm.db") as connection:
        for column, value, run_id in (
            ("started", 1e300, IDS.failed),
            ("env_steps", -7, IDS.stopped),
            ("kind", "walk", IDS.died),
            ("status", b"\xff", IDS.paused),
        ):
            connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))

    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        assert len(listed(app)) == 9
        for run_id, said in (
            (IDS.failed, "started: 1e+300 is no time"),
            (IDS.stopped, "env_steps: -7 is no count"),
            (IDS.died, "kind: 'walk' is unknown"),
            (IDS.paused, "is unknown"),
        ):
            runs(app).go_to(run_id)
            await until(pilot, lambda said=said: said in text_of(app, "#notice"))  # type: ignore[misc]
        assert drawn(app).count("? damaged") == 4
        app.open_run(IDS.failed, "train")
        await until(pilot, lambda: "started: 1e+300 is no time" in drawn(app))

    drive(home, steps)


def test_a_form_is_not_filled_in_like_a_damaged_run(home: Path) -> None:
    with sqlite3.connect(home / "qllm.db") as connection:
        connection.execute("UPDATE runs SET config = '{' WHERE id = ?", (IDS.failed,))
    look = Watcher(home).look(LikeQuery(IDS.failed))
    assert look is not None
    assert "is damaged (config: no JSON" in look.problem


def test_what_is_told_is_never_markup(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[Any]) -> None:
        app.notify("[red]x[/red]")
        app.screen.notify("[red]x[/red]")
        await until(pilot, lambda: len(app._notifications) == 2)
        assert not any(told.markup for told in app._notifications)

    drive(home, steps)
