"""Runs side by side: what is read, every key, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable
from tui_driving import drive, seen, until
from tui_store import IDS

from qllm.facts import compared
from qllm.facts.compared import compare_runs
from qllm.store.folders import ID_FILE
from qllm.store.store import open_store
from qllm.tui.app import QllmApp
from qllm.tui.reading import compare as reading
from qllm.tui.reading.compare import CompareQuery
from qllm.tui.screens.compare import CompareScreen
from qllm.tui.screens.reporting import ReportingScreen
from qllm.tui.screens.run import RunScreen
from qllm.tui.screens.synthesis import SynthesisScreen
from qllm.tui.widgets.chart import Chart, Line, letter_places
from qllm.units import interval

pytestmark = pytest.mark.long

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
        for piece in ("environment steps", "return, IQM over seeds", "20k", "to #1 vdn, the plain"):
            assert piece in shown
        assert "20000" not in shown
        assert "ends of its 95% interval" in shown
        table = screen.query_one("#entries", DataTable)
        titles = [str(c.label) for c in table.columns.values()]
        assert screen.shown is not None
        cells = dict(zip(titles, map(str, table.get_row_at(0)), strict=True))
        assert cells["95% of mean"] == interval(screen.shown.entries[0].mean_ci)
        assert cells["95% of IQM"] == interval(screen.shown.entries[0].ci)
        assert len(set(titles)) == len(titles)
        assert screen.query_one(Chart).plot._datasets

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


def test_a_row_without_a_finished_seed_cannot_be_the_reference(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, (IDS.pipeline, IDS.running))
        assert screen.shown is not None
        await pilot.press(*["down"] * len(screen.shown.entries), "r")
        await until(pilot, lambda: bool(app._notifications))
        assert any("no seed of" in n.message for n in app._notifications)
        assert screen.shown.reference == "#1 vdn"

    drive(home, steps)


def test_one_seed_each_has_no_interval_and_says_how_to_get_one(home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    with open_store(own) as store:
        for algo in ("vdn", "qmix"):
            more = {"config": {}, "command": "qllm", "versions": {}}
            run_id = store.runs.create("train", "matrix/climbing", **more)
            store.runs.begin(run_id)
            seed = store.runs.create(
                "train", "matrix/climbing", algo=algo, seed=0, parent_id=run_id, **more
            )
            attempt = store.runs.begin(seed)
            for at, value in ((0, 1.0), (5_000, 3.0)):
                store.training.record_evaluation(seed, attempt, at, 1.0, [value])
            store.runs.finish(seed, "finished")
            store.runs.finish(run_id, "finished")

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, (1, 2))
        shown = seen(screen)
        assert "One finished seed each: no interval" in shown
        assert "--seeds 0,1,2,3,4" in shown
        assert "faint" not in shown
        assert "compare 1, 2 · matrix/climbing" in shown
        assert "5k" in shown

    drive(own, steps)


def test_the_numbers_are_explained_to_the_end(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("e")
        await pilot.pause()
        notes = " ".join(seen(screen).split())
        assert "An interval that contains 0 does not tell the two apart." in notes
        assert "Curves. Line: IQM (interquartile mean) over seeds" in notes
        assert "too narrow" in notes
        await pilot.press("e")
        await pilot.pause()
        assert "too narrow" not in seen(screen)

    drive(home, steps)


def test_curves_are_looked_at_closer_and_their_command_is_copied(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        plot = screen.query_one(Chart).plot
        whole = plot._x_max
        await pilot.press("plus")
        assert plot._x_max < whole
        await pilot.press("]", "[", "minus", "0", "ctrl+y")
        await pilot.pause()
        assert plot._x_max == whole
        assert app.clipboard == f"qllm report --compare {IDS.pipeline} {IDS.comparison}"

    drive(home, steps)


def test_letters_of_curves_that_end_together_stand_beside_each_other() -> None:
    rising, other = Line("a", (0, 100), (0.0, 10.0)), Line("b", (0, 50, 100), (10.0, 10.0, 10.0))
    apart = Line("c", (0, 100), (0.0, 5.0))
    (ax, ay), (bx, by), (cx, cy) = letter_places([rising, other, apart])
    assert (ay, by, cy) == (10.0, 10.0, 5.0)
    assert bx < ax == cx
    (_, _), (x, y) = letter_places([other, rising])
    assert y == pytest.approx(x / 10)
    assert letter_places([Line("one point", (5,), (2.0,))]) == [(5, 2.0)]


def test_settings_take_the_curves_place_and_give_it_back(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("c")
        await pilot.pause()
        assert "synth.rounds" in seen(screen)
        assert not screen.query_one("#chart").display
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


async def reported(pilot: Pilot[None], screen: ReportingScreen) -> str:
    """Press w and wait; what the line says then, and for good."""
    await pilot.press("w")
    await until(pilot, lambda: screen._reporting_since is None, 60)
    await pilot.pause()
    return seen(screen)


def test_the_comparisons_report_is_held_against_what_the_screen_is(home: Path) -> None:
    where = home / f"compare-{IDS.pipeline}-{IDS.comparison}.html"

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("down", "down", "down", "r")
        await until(pilot, lambda: screen.shown is not None and screen.shown.reference == "#8 qmix")
        assert where.name in await reported(pilot, screen)
        await pilot.press("W")
        assert app.clipboard == str(where)

    drive(home, steps, (160, 40))
    page = where.read_text(encoding="utf-8")
    assert "2 runs compared" in page
    assert "minus that of #8 qmix (as chosen)" in page


@pytest.mark.parametrize("kind", ["run", "search"])
def test_w_writes_a_report_from_the_screens_of_a_run_and_of_a_search(home: Path, kind: str) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        made = RunScreen if kind == "run" else SynthesisScreen
        screen = made(IDS.comparison if kind == "run" else IDS.pipeline)
        await app.push_screen(screen)
        await pilot.pause()
        titles = [command.title for command in app.get_system_commands(screen)]
        assert {"report", "copy report's path"} <= set(titles)
        await pilot.press("W")
        assert any("w writes one" in n.message for n in app._notifications)
        assert "report.html" in await reported(pilot, screen)
        path = screen._report_path
        assert Path(path).is_file()
        await pilot.press("W")
        assert app.clipboard == path

    drive(home, steps, (160, 40))


def test_a_screen_says_where_a_report_is_that_was_written_before(home: Path) -> None:
    path = home / str(IDS.pipeline) / "report.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text("<p>", encoding="utf-8")

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        for made in (RunScreen, SynthesisScreen):
            await app.push_screen(made(IDS.pipeline))
            await until(pilot, lambda: "report of " in seen(app.screen))
            await pilot.press("W")
            assert app.clipboard == str(path)

    drive(home, steps, (160, 40))


def test_another_run_s_report_under_the_same_number_is_not_told_of(home: Path) -> None:
    folder = home / str(IDS.pipeline)
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("<p>", encoding="utf-8")
    (folder / ID_FILE).write_text("a" * 32)

    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.is_mounted)
        await app.push_screen(RunScreen(IDS.pipeline))
        await until(pilot, lambda: "qllm" in seen(app.screen))
        await pilot.pause(0.5)
        assert "report of " not in seen(app.screen)

    drive(home, steps, (160, 40))


def test_a_report_that_is_written_after_one_has_left_is_told_of(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("w", "escape")
        await until(pilot, lambda: any("report: " in n.message for n in app._notifications), 60)

    drive(home, steps)


def test_a_report_that_cannot_be_written_says_so_and_stays(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = CompareScreen((1, 777))
        await app.push_screen(screen)
        await until(pilot, lambda: "no run 777" in seen(screen))
        assert "no report:" in await reported(pilot, screen)
        assert not screen._report_path

    drive(home, steps)


def test_a_run_that_is_not_there_and_one_without_results_are_said_plainly(home: Path) -> None:
    async def steps(app: QllmApp, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot, (IDS.queued, IDS.waiting))
        assert "no curves yet" in seen(screen)
        await pilot.press("r", "enter")
        gone = CompareScreen((1, 777))
        await app.push_screen(gone)
        await until(pilot, lambda: "no run 777" in seen(gone))

    drive(home, steps)


LOOKS = [*(("curves", size) for size in SIZES), ("settings", (80, 24)), ("notes", (80, 24))]


@pytest.mark.parametrize(
    ("shown", "size"), LOOKS, ids=[f"{name}-{size[0]}x{size[1]}" for name, size in LOOKS]
)
def test_how_it_looks(home: Path, snap_compare: Any, size: tuple[int, int], shown: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        assert isinstance(pilot.app, QllmApp)
        await opened(pilot.app, pilot)
        if shown != "curves":
            await pilot.press({"settings": "c", "notes": "e"}[shown])
        await pilot.pause()

    app = QllmApp(home)
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=size, run_before=before)
