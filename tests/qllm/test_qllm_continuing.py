"""A batch job in one line: stopped by any signal, queued again, it goes on where it stood."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marl.events import Event, Metrics
from marl.trainer import Trainer
from qllm.cli.main import run
from qllm.jobs import runner
from qllm.jobs.continuing import MAY_DIFFER
from qllm.jobs.training_recorder import TrainingRecorder
from qllm.signals import STOP_SIGNALS
from qllm.store.process import this_process
from qllm.store.schema import Run
from qllm.store.store import open_store

pytestmark = pytest.mark.long

FIRST = 1_000_001
SECOND = 1_000_002
"""Trainings of run 1: 1.1 and 1.2."""

TRAIN = ["train", "matrix/climbing", "--steps", "800", "evaluation.every=400"]
TRAIN += ["evaluation.episodes=2", "learner.batch_size=8", "agent.hidden=8"]
TRAIN += ["checkpoint_every=200", "log_every=200", "--display", "none"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


Stopped = Callable[..., None]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Stopped:
    """A command that gets a signal once its first training has recorded metrics at step 400."""
    record = TrainingRecorder.__call__

    def stop(*words: str, number: int = signal.SIGUSR1) -> None:
        def recording(self: TrainingRecorder, event: Event) -> None:
            record(self, event)
            if isinstance(event, Metrics) and event.env_steps == 400:
                signal.raise_signal(number)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingRecorder, "__call__", recording)
            assert run([*words]) == (130 if number == signal.SIGINT else 128 + number)

    return stop


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def top(home: Path) -> list[Run]:
    with open_store(home, readonly=True) as store:
        return store.runs.listed(top_level=True)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_stops_with_a_checkpoint_and_the_same_line_goes_on(
    number: int, home: Path, tmp_path: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*TRAIN, number=number)
    with open_store(home, readonly=True) as store:
        assert [store.runs.get(run_id).status for run_id in (1, FIRST)] == ["stopped", "stopped"]
        assert store.runs.get(FIRST).env_steps == 400
    rows = document(capsys, *TRAIN, "--continue")["rows"]
    assert [one.id for one in top(home)] == [1]
    with open_store(home, readonly=True) as store:
        assert [a.resumed_at for a in store.runs.attempts(FIRST)] == [0, 400]
    if number == signal.SIGUSR1:
        whole = document(capsys, *TRAIN, "--home", str(tmp_path / "whole"))["rows"]
        assert [r["return_mean"] for r in rows] == [r["return_mean"] for r in whole]


def test_what_has_finished_is_shown_again_and_not_trained(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = document(capsys, *TRAIN, "--continue")  # begins, since nothing is there
    monkeypatch.setattr(Trainer, "run", None)
    again = document(capsys, *TRAIN, "--continue")
    assert again == first
    capsys.readouterr()
    assert run([*TRAIN, "--continue", "--display", "plain"]) == 0
    out, err = capsys.readouterr()
    assert "run 1 has finished already" in err
    assert "vdn" in out


@pytest.mark.parametrize(
    "other",
    [
        ["--seeds", "1"],
        ["--algo", "qmix"],
        ["learner.lr=0.1"],
        ["--steps", "1000"],
    ],
)
def test_another_command_begins_a_run_of_its_own(
    other: list[str], home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*TRAIN)
    assert document(capsys, *TRAIN, *other, "--continue")["run"] == 2
    assert [one.status for one in top(home)] == ["finished", "stopped"]
    assert document(capsys, *TRAIN, "--continue")["run"] == 1


def test_the_newest_run_of_the_command_goes_on(
    home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*TRAIN)
    stopped(*TRAIN)
    assert document(capsys, *TRAIN, "--continue")["run"] == 2
    assert document(capsys, *TRAIN, "--continue")["run"] == 2


def test_where_and_how_the_work_is_done_may_change_and_counts_from_then_on(
    home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*TRAIN, "--seeds", "0,1")
    other = ["threads=2", "device=cpu", "checkpoint_every=300", "log=jsonl"]
    assert document(capsys, *TRAIN, "--seeds", "0,1", *other, "--continue")["run"] == 1
    with open_store(home, readonly=True) as store:
        for run_id in (1, FIRST, SECOND):
            config = store.runs.get(run_id).config
            assert (config["threads"], config["device"], config["log"]) == (2, "cpu", ["jsonl"])
        assert (store.run_dir(FIRST) / "metrics.jsonl").is_file()
    assert {"threads", "device", "checkpoint_every", "log", "models", "parallel"} <= MAY_DIFFER


def test_a_run_that_is_at_work_is_left_to_it(
    home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(*TRAIN)
    with open_store(home) as store, store.database.write() as session:
        one = session.get(Run, 1)
        assert one is not None
        me = this_process()
        one.status, one.pid, one.process_started = "running", me.pid, me.started
    capsys.readouterr()
    assert run([*TRAIN, "--continue"]) == 2
    assert "run 1 is running in process" in capsys.readouterr().err


def test_a_run_of_a_host_that_is_lost_goes_on_once_it_is_seen_dead(
    home: Path, stopped: Stopped, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stopped(*TRAIN)
    with open_store(home) as store, store.database.write() as session:
        for run_id in (1, FIRST):
            one = session.get(Run, run_id)
            assert one is not None
            one.status, one.host = "running", "lost.invalid"
    monkeypatch.setattr("qllm.store.process.STALE_AFTER_S", 1.0)
    assert run([*TRAIN, "--continue", "--display", "plain"]) == 0
    assert [one.id for one in top(home)] == [1]


def test_a_job_that_died_before_it_had_queued_its_trainings_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def died(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runner, "create_trainings", died)
        assert run([*TRAIN, "--seeds", "0,1"]) == 130
    found = document(capsys, *TRAIN, "--seeds", "0,1", "--continue")
    assert (found["run"], [row["seed"] for row in found["rows"]]) == (1, [0, 1, None])


def test_a_comparison_goes_on(
    home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *TRAIN[1:], "--algos", "vdn,qmix"]
    stopped(*words)
    rows = document(capsys, *words, "--continue")["rows"]
    assert [row["status"] for row in rows] == ["finished"] * 4
    assert [one.id for one in top(home)] == [1]


@pytest.mark.usefixtures("_warm")
def test_a_function_that_was_rewritten_begins_another_run(
    home: Path, tmp_path: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "f.py"
    words = [*TRAIN, "--algo", "qllm", "--tfcaf", str(source), "sandbox.examples=10"]
    text = "def tfcaf(state):\n    return state * 0 + {}, state[:, :1] * 0\n"
    source.write_text(text.format(1.0))
    stopped(*words)
    source.write_text(text.format(2.0))
    assert document(capsys, *words, "--continue")["run"] == 2
    source.write_text(text.format(1.0))
    assert document(capsys, *words, "--continue")["run"] == 1


@pytest.mark.usefixtures("_warm")
def test_searches_and_whole_runs_go_on(
    home: Path, stopped: Stopped, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["synth.rounds=1", "synth.candidates=2", "synth.pilot_steps=100"]
    search += ["synth.pilot_seeds=1", "--coder", "sampler", "sandbox.examples=10"]
    whole = ["run", *TRAIN[1:], *search, "--algos", "vdn,qllm"]
    stopped(*whole)
    found = document(capsys, *whole, "--continue")
    assert (found["run"], found["status"]) == (1, "finished")
    assert document(capsys, *whole, "--continue") == {**found}
    alone = ["synth", "matrix/climbing", *search, "--display", "none"]
    first = document(capsys, *alone, "--continue")
    assert first["run"] != 1
    again = document(capsys, *alone, "--continue")
    assert (again["run"], again["selected"]) == (first["run"], first["selected"])
    replayed = document(capsys, "replay", str(first["run"]), "--display", "none")
    assert replayed["run"] != document(capsys, *alone, "--continue")["run"] == first["run"]
