"""Runs side by side: what is read, every key, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable
from textual_plot import PlotWidget
from tui_driving import drive, seen, until
from tui_store import IDS

from qllm.report import compared
from qllm.report.compared import compare_runs
from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.reading import compare as reading
from qllm.tui.reading.compare import CompareQuery
from qllm.tui.screens.compare import CompareScreen
from qllm.tui.screens.run import RunScreen

SIZES = [(120, 36), (80, 24), (60, 15)]
TWO = (IDS.pipeline, IDS.comparison)


async def opened(app: QllmApp, pilot: Pilot[None], run_ids: tuple[int, ...] = TWO) -> CompareScreen:
    await until(pilot, lambda: app.screen.is_mounted)
    screen = CompareScreen(run_ids)
    await app.push_screen(screen)
    await until(pilot, lambda: screen.shown is not None)
    await pilot.pause()
    return screen


def test_it_reads_what_the_report_shows(home: Path) -> None:
    with open_store(home, readonly=True) as store:
        assert CompareQuery(TWO).read(store, {}) == compare_runs(store, TWO)
        label = f"#{IDS.comparison} qmix"
        found = CompareQuery(TWO, label).read(store, {})
    assert found.reference == label
    assert {e.run for e in found.entries} == set(TWO)


def test_runs_that_have_not_changed_are_not_computed_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    real = compared.entries_of

    def counted(store: Any, run: Any) -> Any:
        computed.append(run.id)
        return real(store, run)

    monkeypatch.setattr(reading, "entries_of", counted)
    memory: dict[str, Any] = {}
    with open_store(home) as store:
        first = CompareQuery(TWO).read(store, memory)
        assert CompareQuery(TWO).read(store, memory) == first
        assert computed == list(TWO)
        store.runs.progress(store.runs.children(IDS.comparison)[0].id, env_steps=5)
        CompareQuery(TWO).read(store, memory)
    assert computed == [*TWO, IDS.comparison]


def test_curves_and_table_show_means_intervals_and_differences(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        shown = seen(screen)
        for piece in ("#1 qllm", "#8 iql", "IQM", "difference", "reference", "[174.1, 180.4]"):
            assert piece in shown
        assert screen.query_one("#plot", PlotWidget)._datasets

    drive(home, steps)


def test_the_reference_is_the_row_under_the_cursor(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        assert screen.shown is not None
        assert screen.shown.reference == "#1 vdn"
        await pilot.press("down", "down", "down", "r")
        await until(pilot, lambda: screen.shown is not None and screen.shown.reference == "#8 qmix")
        assert screen.query_one("#entries", DataTable).cursor_row == 3

    drive(home, steps)


def test_settings_take_the_curves_place_and_give_it_back(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("c")
        await pilot.pause()
        assert "synth.rounds" in seen(screen)
        assert not screen.query_one("#plot").display or not screen.query_one("#plot").size
        await pilot.press("c")
        await pilot.pause()
        assert "synth.rounds" not in seen(screen)

    drive(home, steps)


def test_enter_opens_the_run_under_the_cursor(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert isinstance(app.screen, RunScreen)
        assert app.screen.run_id == IDS.comparison

    drive(home, steps)


def test_the_report_is_written_by_a_process_of_its_own(home: Path) -> None:
    where = home / f"compare-{IDS.pipeline}-{IDS.comparison}.html"

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("w")
        await until(pilot, where.exists, 60)
        await until(pilot, lambda: any("written" in n.message for n in app._notifications))

    drive(home, steps)
    assert "2 runs compared" in where.read_text(encoding="utf-8")


def test_a_run_that_is_not_there_and_one_without_results_are_said_plainly(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, (IDS.queued, IDS.waiting))
        assert "no curves yet" in seen(screen)
        await pilot.press("r", "enter")
        gone = CompareScreen((1, 777))
        await app.push_screen(gone)
        await until(pilot, lambda: "no run 777" in seen(gone))

    drive(home, steps)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("shown", ["curves", "settings"])
def test_how_it_looks(home: Path, snap_compare: Any, size: tuple[int, int], shown: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, QllmApp)
        await opened(pilot.app, pilot)
        if shown == "settings":
            await pilot.press("c")
        await pilot.pause()

    app = QllmApp(home)
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=before)
