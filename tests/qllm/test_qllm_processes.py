"""Real `qllm` processes: killed and resumed, interrupted, stopped and paused from outside."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from marl.checkpoint import latest_checkpoint
from qllm.cli.main import run
from qllm.store.database import open_database
from qllm.store.numbers import run_name
from qllm.store.runs import derived_status
from qllm.store.store import Store, open_store
from qllm.store.training import TrainingTable

pytestmark = pytest.mark.long

FIRST = 1_000_001
SECOND = 1_000_002
"""Trainings of run 1: 1.1 and 1.2."""

ROOT = Path(__file__).parents[2]
SETTINGS = [
    "checkpoint_every=400",
    "log_every=200",
    "evaluation.every=1000",
    "evaluation.episodes=4",
    "learner.batch_size=8",
    "agent.hidden=8",
]


class Home:
    """A home folder and the processes that work in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "QLLM_HOME": str(self.path)}
        environment.pop("QLLM_DB", None)
        return subprocess.Popen(
            [sys.executable, "-m", "qllm.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def done(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
        """The same command line in this process, which saves the time of starting another."""
        capsys.readouterr()
        code = run(["--home", str(self.path), *words])
        return code, *capsys.readouterr()

    def store(self) -> Store:
        return open_store(self.path, readonly=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("QLLM_DB", raising=False)
    return Home(tmp_path / "home")


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 40
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"ended early: {process.communicate()}")
        try:
            if condition():
                return
        except Exception:  # noqa: BLE001 (the store may not exist yet)
            pass
        time.sleep(0.02)
    process.kill()
    raise AssertionError("timed out")


def _trained_past(home: Home, run_id: int, env_steps: int) -> Callable[[], bool]:
    def check() -> bool:
        with home.store() as store:
            return store.runs.get(run_id).env_steps >= env_steps

    return check


def _series(home: Home, run_id: int) -> object:
    with home.store() as store:
        return (
            [(e.env_steps, e.returns) for e in store.training.evaluations(run_id)],
            {
                name: [(p.env_steps, p.value) for p in store.training.metrics(run_id, name)]
                for name in store.training.metric_names(run_id)
            },
        )


def test_a_killed_training_resumes_to_the_very_same_result(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "matrix/climbing", "--steps", "4000", "--seeds", "0,1", "--json", *SETTINGS]
    whole = Home(tmp_path / "whole")
    code, expected, _ = whole.done(capsys, *words)
    assert code == 0

    process = home.start(*words)
    _until(_trained_past(home, FIRST, 1200), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with home.store() as store:
        assert derived_status(store.runs.get(1)) == "died"
        assert derived_status(store.runs.get(FIRST)) == "died"
        assert store.runs.get(SECOND).status == "queued"
    code, _, err = home.done(capsys, "stop", "1")
    assert code == 2
    assert "died" in err

    code, out, err = home.done(capsys, "resume", "1.1", "--json")
    assert code == 0, err
    assert "run 1.1 belongs to run 1" in err
    timing = {"env_steps_per_s", "wall_s"}
    rows, wanted = (
        [{k: v for k, v in row.items() if k not in timing} for row in json.loads(text)["rows"]]
        for text in (out, expected)
    )
    assert rows == wanted
    for run_id in (FIRST, SECOND):
        assert _series(home, run_id) == _series(whole, run_id)
        here = latest_checkpoint(home.path / run_name(run_id))
        there = latest_checkpoint(whole.path / run_name(run_id))
        assert here is not None
        assert there is not None
        ours, theirs = (load_file(p / "tensors.safetensors") for p in (here, there))
        assert ours.keys() == theirs.keys()
        assert all(ours[name].equal(theirs[name]) for name in ours)
    with home.store() as store:
        assert store.runs.get(FIRST).attempt == 2
        assert store.runs.get(SECOND).attempt == 1


def test_an_evaluation_that_a_checkpoint_of_the_same_step_lacks_is_stored_once(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "matrix/climbing", "--steps", "1200", "log=[jsonl]", *SETTINGS]
    words += ["evaluation.every=400"]  # as often as checkpoints
    whole = Home(tmp_path / "whole")
    assert whole.done(capsys, *words)[0] == 0

    record = TrainingTable.record_evaluation

    def last(table: TrainingTable, run_id: int, attempt: int, steps: int, *more: Any) -> Any:
        point = record(table, run_id, attempt, steps, *more)
        if steps == 800:
            raise KeyboardInterrupt
        return point

    with monkeypatch.context() as patch:
        patch.setattr(TrainingTable, "record_evaluation", last)
        assert home.done(capsys, *words)[0] == 130
    assert home.done(capsys, "resume", "1")[0] == 0
    assert _series(home, FIRST) == _series(whole, FIRST)
    here, there = ((h.path / "1.1" / "evaluations.jsonl") for h in (home, whole))
    assert len(here.read_text().splitlines()) == len(there.read_text().splitlines()) > 0


def test_ctrl_c_stops_cleanly_keeps_what_is_finished_and_says_how_to_resume(home: Home) -> None:
    words = ["compare", "matrix/climbing", "--algos", "vdn,qmix", "--steps", "1200"]
    process = home.start(*words, "--seeds", "0,1,2,3,4,5,6,7", "--json", *SETTINGS)
    _until(_trained_past(home, 1, 1600), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "qllm resume 1" in err
    assert "Traceback" not in err
    document = json.loads(out)
    assert document["status"] == "stopped"
    rows = [row for row in document["rows"] if row["seed"] is not None]
    assert rows[0]["status"] == "finished"
    assert rows[0]["return_mean"] is not None
    assert rows[-1]["status"] == "queued"
    with home.store() as store:
        assert {r.status for r in store.runs.listed()} <= {"stopped", "finished", "queued"}


def test_stop_and_pause_travel_through_the_store(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    process = home.start("train", "matrix/climbing", "--steps", "4000000", *SETTINGS)
    _until(_trained_past(home, FIRST, 400), process)
    with open_store(home.path) as store:
        store.commands.send(1, "pause")
        _until(lambda: store.runs.get(FIRST).status == "paused", process)
        steps = store.runs.get(FIRST).env_steps
        time.sleep(0.4)
        assert store.runs.get(FIRST).env_steps == steps
        store.commands.send(1, "resume")
        _until(lambda: store.runs.get(FIRST).env_steps > steps, process)
    code, out, _ = home.done(capsys, "stop", "1")
    assert code == 0
    assert "run 1 is stopped" in out
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_a_run_that_works_is_not_resumed_a_second_time(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    process = home.start("train", "matrix/climbing", "--steps", "4000000", *SETTINGS)
    _until(_trained_past(home, FIRST, 400), process)
    code, _, err = home.done(capsys, "resume", "1")
    assert code == 2
    assert f"process {process.pid}" in err
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_signal_of_a_scheduler_to_all_processes_stops_them_with_checkpoints(home: Home) -> None:
    words = ["train", "matrix/climbing", "--seeds", "0,1", "--parallel", "2", *SETTINGS]
    process = home.start(*words, "--steps", "4000000")
    _until(_trained_past(home, FIRST, 800), process)
    _until(_trained_past(home, SECOND, 800), process)
    workers = psutil.Process(process.pid).children()
    for one in (*workers, process):
        one.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGUSR1
    assert not psutil.wait_procs(workers, 5)[1]
    with home.store() as store:
        assert [r.status for r in store.runs.listed()] == ["stopped"] * 3
        for run_id in (FIRST, SECOND):
            assert latest_checkpoint(store.run_dir(run_id)) is not None


def test_a_locked_store_is_one_clear_line(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_database.__kwdefaults__ is not None
    monkeypatch.setitem(open_database.__kwdefaults__, "timeout_s", 0.1)
    open_store(home.path).close()
    holder = sqlite3.connect(home.path / "qllm.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    code, out, err = home.done(capsys, "train", "matrix/climbing", *SETTINGS)
    holder.close()
    assert (code, out) == (2, "")
    assert "locked by another process" in err
    assert err.count("\n") == 1
