"""What the readers of the list of runs and of one run give."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tui_store import IDS, METRICS, NOW, empty_store

from marl.statistics import bootstrap_interval
from qllm.store.store import open_store
from qllm.store.training import MetricPoint
from qllm.tui.reading.curves import mean_curve, thinned
from qllm.tui.reading.run import RunQuery, RunView
from qllm.tui.reading.runs import RunRow, RunsQuery
from qllm.tui.reading.series import Series
from qllm.tui.reading.spread import metric_curve
from qllm.tui.reading.watch import Look, Watcher, marks


def look(watcher: Watcher, query: RunsQuery | RunQuery) -> Look:
    found = watcher.look(query)
    assert found is not None
    return found


def rows(home: Path, *curves_of: int) -> dict[int, RunRow]:
    watcher, query = Watcher(home), RunsQuery(curves_of=curves_of)
    found = look(watcher, query).data
    for _ in range(20):  # curves come as there is time
        if all(row.returns is not None for row in found if row.id in curves_of):
            break
        found = look(watcher, query).data
    watcher.close()
    return {row.id: row for row in found}


def view(home: Path, run_id: int, **asked: object) -> RunView:
    watcher = Watcher(home)
    try:
        found = look(watcher, RunQuery(run_id, **asked))  # type: ignore[arg-type]
        assert isinstance(found.data, RunView), found.problem
        return found.data
    finally:
        watcher.close()


def test_runs_are_listed_newest_first_with_their_states(home: Path) -> None:
    found = rows(home)
    assert list(found) == sorted(found, reverse=True)
    states = {run_id: found[run_id].status for run_id in found}
    assert states[IDS.died] == "died"
    assert states[IDS.paused] == "paused"
    assert states[IDS.running] == "running"
    assert states[IDS.queued] == "queued"
    assert all(found[run_id].returns is None for run_id in found)


def test_the_time_left_follows_from_the_rate(home: Path) -> None:
    found = rows(home)
    assert found[IDS.running].left_s == pytest.approx(25_000 / 250)
    assert found[IDS.paused].left_s is None
    assert found[IDS.pipeline].left_s is None


def test_returns_are_those_of_the_runs_own_algorithm_or_of_the_highest(home: Path) -> None:
    found = rows(home, IDS.pipeline, IDS.comparison, IDS.running, IDS.queued)
    told = {run_id: row.returns for run_id, row in found.items() if row.returns is not None}
    assert set(told) == {IDS.pipeline, IDS.comparison, IDS.running, IDS.queued}
    assert told[IDS.pipeline].algo == "qllm"
    assert told[IDS.comparison].algo == "qmix"
    assert told[IDS.queued].last is None
    assert len(told[IDS.running].curve) == 16
    best = told[IDS.pipeline].best
    assert best is not None
    assert best >= max(told[IDS.pipeline].curve[1:])


def test_a_run_that_changes_is_read_again_and_the_others_stay(home: Path) -> None:
    watcher = Watcher(home)
    before = {row.id: row for row in look(watcher, RunsQuery()).data}
    assert watcher.look(RunsQuery()) is None
    with open_store(home) as store:
        store.runs.progress(IDS.running, env_steps=16_000)
        new = store.runs.create("train", "matrix/climbing", config={}, command="", versions={})
    after = {row.id: row for row in look(watcher, RunsQuery()).data}
    watcher.close()
    assert after[IDS.running].env_steps == 16_000
    assert next(iter(after)) == new
    assert all(after[run_id] is before[run_id] for run_id in (IDS.pipeline, IDS.failed))


def test_a_run_shows_a_curve_with_an_interval_for_each_algorithm(home: Path) -> None:
    shown = view(home, IDS.pipeline)
    assert [(curve.algo, curve.seeds) for curve in shown.curves] == [("qllm", 3), ("vdn", 3)]
    for curve in shown.curves:
        ends = zip(curve.low, curve.centre, curve.high, strict=True)
        assert all(low <= centre <= high for low, centre, high in ends)
        assert any(low < high for low, high in zip(curve.low, curve.high, strict=True))
        assert curve.steps[0] == 0
        assert curve.steps[-1] == 20_000
        assert list(curve.wall) == sorted(curve.wall)


def test_the_newest_interval_is_that_of_the_tables(home: Path) -> None:
    with open_store(home, readonly=True) as store:
        trainings = [run for run in store.runs.children(IDS.pipeline) if run.algo == "vdn"]
        last = [store.training.evaluations(run.id)[-1].returns for run in trainings]
    scores = [sum(returns) / len(returns) for returns in last]
    table = bootstrap_interval([scores])
    (curve,) = (curve for curve in view(home, IDS.pipeline).curves if curve.algo == "vdn")
    assert (curve.low[-1], curve.high[-1]) == pytest.approx(table)


def test_one_seed_has_no_interval(home: Path) -> None:
    (curve,) = view(home, IDS.failed).curves
    assert curve.low == curve.centre == curve.high


def test_the_metrics_are_those_of_the_training_at_work_or_of_the_one_asked_for(home: Path) -> None:
    shown = view(home, IDS.running)
    assert shown.training == IDS.running + 1
    assert [metric.name for metric in shown.metrics] == sorted(METRICS)
    assert shown.plotted is None
    other = view(home, IDS.pipeline, training=IDS.pipeline + 3, metric="loss")
    assert other.training == IDS.pipeline + 3
    assert other.plotted is not None
    assert (other.plotted.algo, other.plotted.seeds) == ("qllm", 3)
    assert len(other.plotted.centre) == 21
    assert any(a < b for a, b in zip(other.plotted.low, other.plotted.high, strict=True))


def test_new_points_are_added_to_those_known(home: Path) -> None:
    watcher, training = Watcher(home), IDS.running + 1
    query = RunQuery(IDS.running, metric="loss")
    before = look(watcher, query).data.plotted
    with open_store(home) as store:
        store.training.record_metrics(training, 1, [MetricPoint(16_000, 64.0, "loss", 1.25)])
        store.training.record_metrics(3, 1, [MetricPoint(16_000, 64.0, "loss", 99.0)])
        store.training.record_metrics(training, 1, [MetricPoint(16_000, 64.0, "fresh", None)])
        store.training.record_evaluation(training, 1, 16_000, 64.0, [200.0, 202.0])
    after = look(watcher, query).data
    watcher.close()
    assert after.plotted.centre == (*before.centre, 1.25)
    assert {metric.name: metric.last for metric in after.metrics}["fresh"] is None
    assert after.trainings[0].last == 201.0


def test_a_new_attempt_supersedes_what_was_known(home: Path) -> None:
    watcher = Watcher(home)
    before = look(watcher, RunQuery(IDS.died)).data
    with open_store(home) as store:
        store.runs.begin(IDS.died + 1, resumed_at=10_000)
    after = look(watcher, RunQuery(IDS.died)).data
    watcher.close()
    assert len(before.curves[0].steps) == 15
    assert len(after.curves[0].steps) == 11


def test_the_log_tells_starts_requests_and_the_error_and_finds_what_the_job_printed(
    home: Path,
) -> None:
    (home / "logs").mkdir()
    log = home / "logs" / "20260101-000000-train.log"
    log.write_text(f"run {IDS.failed}: train matrix/climbing\n\x1b[31mboo\n", encoding="utf-8")
    with open_store(home) as store:
        store.commands.send(IDS.failed, "stop")
    said = view(home, IDS.failed).log
    assert any("attempt 1 begins" in line for line in said.events)
    assert any("asked to stop (the job has not seen it yet)" in line for line in said.events)
    assert any("not finite" in line for line in said.events)
    assert said.printed[-1] == "\x1b[31mboo"
    assert view(home, IDS.stopped).log.printed == ()


def test_the_log_of_a_job_that_was_not_started_here_tells_what_the_store_knows(
    home: Path,
) -> None:
    (home / "1").mkdir()
    (home / "1" / "report.html").write_text("<html>", encoding="utf-8")
    said = view(home, IDS.pipeline).log
    assert said.files == ("report.html",)
    for words in (
        "round 1 of the search begins",
        "round 2 ends: 1.1 has the highest final return of 3",
        "training 2 (qllm, seed 0) begins",
        "training 7 (vdn, seed 2) finished",
    ):
        assert any(words in line for line in said.events)
    assert any("last heartbeat" in line for line in view(home, IDS.died).log.events)


@pytest.mark.timeout(20)
def test_a_log_that_is_no_file_is_not_waited_for(home: Path) -> None:
    (home / "logs").mkdir(parents=True, exist_ok=True)
    os.mkfifo(home / "logs" / "20260101-000000-train.log")
    assert view(home, IDS.failed).log.printed == ()


def test_a_run_tells_what_it_recorded_of_itself(home: Path) -> None:
    record = dict(view(home, IDS.pipeline).record)
    assert record["machine"] == "elsewhere, Linux x86_64"
    assert "torch 2.13.0" in record["versions"]
    assert record["qllm"].startswith("25,539 parameters, 2.5k steps/s")
    assert "3 seeds" in record["qllm"]


def test_a_run_that_searches_tells_how_far_it_is_until_it_trains(home: Path) -> None:
    with open_store(home) as store:
        run_id = store.runs.create(
            "run", "matrix/climbing", config={"synth": {"rounds": 4}}, command="", versions={}
        )
        assert view(home, run_id).search is None  # it has not begun
        store.runs.begin(run_id)
    searching = view(home, run_id).search
    assert searching is not None
    assert (searching.round, searching.rounds, searching.best) == (0, 4, None)
    assert view(home, IDS.pipeline).search is None
    found = rows(home, IDS.waiting, run_id)
    told = found[IDS.waiting].returns
    assert told is not None
    assert told.search is not None
    assert (told.search.accepted, told.search.refused, told.search.best) == (1, 1, 157.0)
    assert told.search.plain_sum == 139.0
    assert found[run_id].returns is not None


def test_the_best_pilot_is_the_best_of_the_longest_and_not_under_the_weaker_gate(
    home: Path,
) -> None:
    with open_store(home) as store:
        for key, steps, score in (("short", 1_000, 999.0), ("r0.s0.0@relax", 5_000, 888.0)):
            store.synthesis.record_verdict(
                IDS.waiting,
                1,
                "pilot",
                key,
                reason={"key": key, "steps": steps, "graph_hash": key, "final_mean": score},
                score=score,
                candidate_id=8,
            )
    told = rows(home, IDS.waiting)[IDS.waiting].returns
    assert told is not None
    assert told.search is not None
    assert (told.search.best, told.search.best_steps) == (157.0, 5_000)


def test_the_trainings_of_opened_runs_follow_them(home: Path) -> None:
    watcher = Watcher(home)
    found = look(watcher, RunsQuery(opened=(IDS.pipeline, IDS.queued), curves_of=(3,))).data
    watcher.close()
    assert [row.id for row in found][-7:] == [1, 2, 3, 4, 5, 6, 7]
    by_id = {row.id: row for row in found}
    assert by_id[IDS.pipeline].opened
    assert not by_id[IDS.queued].opened
    assert (by_id[3].parent, by_id[3].algo, by_id[3].seed) == (1, "qllm", 1)
    assert by_id[3].returns is not None
    assert by_id[4].returns is None
    assert by_id[IDS.comparison].algos == ("vdn", "qmix", "iql")
    assert by_id[IDS.comparison].trainings == 6
    assert by_id[IDS.queued].algos == ()


def test_a_metric_of_seeds_that_were_read_to_different_steps_is_taken_between_its_points() -> None:
    first = ((0.0, 10.0, 20.0), (0.0, 1.0, 2.0), (0.0, 1.0, 2.0))
    second = ((5.0, 15.0), (1.0, 2.0), (3.0, 5.0))
    curve = metric_curve("vdn", [first, second, ((), (), ())])
    assert curve is not None
    assert curve.seeds == 2
    assert curve.steps == (0.0, 10.0, 20.0)
    assert curve.centre == (0.0, 2.5, 2.0)  # between 1 and 4 in the middle, alone at the ends
    assert curve.wall == (0.0, 1.25, 2.0)
    assert metric_curve("vdn", []) is None


def test_an_unknown_run_is_a_problem_in_a_line(home: Path) -> None:
    found = look(Watcher(home), RunQuery(999))
    assert found.data is None
    assert "no run 999" in found.problem


def test_a_missing_an_empty_and_a_locked_store_are_told_apart(home: Path, tmp_path: Path) -> None:
    assert look(Watcher(tmp_path / "nowhere"), RunsQuery()).missing
    empty_store(tmp_path / "empty")
    assert look(Watcher(tmp_path / "empty"), RunsQuery()).data == ()
    with sqlite3.connect(home / "qllm.db") as database:
        database.execute("PRAGMA journal_mode=DELETE")
        database.execute("BEGIN EXCLUSIVE")
        found = look(Watcher(home, locked_s=0.05), RunsQuery())
        database.rollback()
    database.close()
    assert "locked" in found.problem
    assert not found.missing


def test_a_store_that_was_replaced_is_opened_again(home: Path, tmp_path: Path) -> None:
    watcher = Watcher(home)
    assert look(watcher, RunsQuery()).data
    shutil.rmtree(home)
    assert look(watcher, RunsQuery()).missing
    empty_store(home)
    assert look(watcher, RunsQuery()).data == ()
    watcher.close()


def test_other_databases_tell_a_change_by_what_jobs_write(home: Path) -> None:
    with open_store(home) as store:
        seen = [marks(store)]

        def changed() -> bool:
            seen.append(marks(store))
            return seen[-1] != seen[-2]

        assert not changed()
        store.training.record_metrics(2, 1, [MetricPoint(1, 1.0, "loss", 1.0)])
        assert changed()
        store.runs.progress(IDS.running, env_steps=15_001)
        assert changed()
        store.commands.send(IDS.running, "pause")
        assert changed()
        store.runs.set_status(IDS.running, "paused")
        assert changed()
        assert not changed()


def test_a_long_series_is_kept_short_and_keeps_its_ends() -> None:
    series = Series()
    for at in range(10_000):
        series.add(at, at / 10, float(at % 100))
    (steps, _, values), metric = series.points(), series.metric("x")
    assert len(values) <= 2_000
    assert steps[0] < 10
    assert steps[-1] > 9_985
    assert sum(values) / len(values) == pytest.approx(49.5, abs=0.5)
    assert (metric.last, metric.low, metric.high) == (99.0, 0.0, 99.0)
    assert len(metric.curve) == 40
    series.add(10_000, 1_000.0, None)
    assert series.metric("x").last is None


def test_thinning_keeps_the_first_and_the_last() -> None:
    assert thinned(range(5), 10) == (0, 1, 2, 3, 4)
    few = thinned(range(1_000), 7)
    assert (few[0], few[-1], len(few)) == (0, 999, 7)
    assert mean_curve([]) == []


def test_the_readers_know_no_textual_and_no_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, qllm.tui.reading as r\n"
        "for module in pkgutil.iter_modules(r.__path__, 'qllm.tui.reading.'):\n"
        "    importlib.import_module(module.name)\n"
        "print([m for m in ('textual',) if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert told.stdout.strip() == "[]"


def test_the_app_starts_without_the_store_or_torch() -> None:
    code = (
        "import sys, qllm.tui.app\n"
        "print([m for m in ('torch', 'sqlalchemy', 'numpy', 'pydantic') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert told.stdout.strip() == "[]"


def test_the_clock_of_the_tests_stands_still(home: Path) -> None:
    import time

    assert time.time() == NOW
