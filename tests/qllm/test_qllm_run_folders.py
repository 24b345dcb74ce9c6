"""A run goes on from its own files, whatever lies where its number points."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from marl.checkpoint import latest_checkpoint
from marl.events import Event, Metrics
from marl.trainer import Trainer
from qllm.cli.main import run
from qllm.jobs.training_recorder import TrainingRecorder
from qllm.store.folders import ID_FILE, find_folder, make_folder, uid_in
from qllm.store.store import open_store

FIRST = 1_000_001
SECOND = 1_000_002
"""Trainings of run 1: 1.1 and 1.2."""

QUICK = ["--steps", "800", "evaluation.every=400", "evaluation.episodes=2", "learner.batch_size=8"]
QUICK += ["agent.hidden=8", "checkpoint_every=200", "log_every=200", "--display", "none"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


def document(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def stopped_at(monkeypatch: pytest.MonkeyPatch, env_steps: int, *words: str) -> None:
    """A command that is interrupted once its training has recorded metrics at this step."""
    record = TrainingRecorder.__call__

    def recording(self: TrainingRecorder, event: Event) -> None:
        record(self, event)
        if isinstance(event, Metrics) and event.env_steps >= env_steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRecorder, "__call__", recording)
        assert run([*words]) == 130


# -- folders -----------------------------------------------------------------------------------


def test_a_folder_is_one_run_s_alone(tmp_path: Path) -> None:
    first, second = "a" * 32, "b" * 32
    assert make_folder(tmp_path, 1, first) == make_folder(tmp_path, 1, first) == tmp_path / "1"
    assert uid_in(tmp_path / "1") == first
    other = make_folder(tmp_path, 1, second)
    assert other == find_folder(tmp_path, 1, second) == tmp_path / "1-bbbbbbbb"
    (tmp_path / "2").mkdir()  # somebody's, or nobody's
    assert make_folder(tmp_path, 2, first).name == "2-aaaaaaaa"
    (tmp_path / "3").symlink_to(tmp_path / "nowhere")
    assert make_folder(tmp_path, 3, first).name == "3-aaaaaaaa"
    shutil.rmtree(tmp_path / "1")
    assert find_folder(tmp_path, 1, second) == other, "it stays where it is"


def test_a_folder_that_only_looks_like_a_run_s_own_is_left_alone(tmp_path: Path) -> None:
    uid = "a" * 32
    for name in ("1", "1-aaaaaaaa"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ID_FILE).mkdir()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path, 1, uid)


# -- a database anew -----------------------------------------------------------------------------


def kept(home: Path) -> dict[Path, bytes]:
    """The files in the folders of the numbers 1, 1.1 and 1.2."""
    files = (p for name in ("1", "1.1", "1.2") for p in (home / name).glob("**/*"))
    return {path: path.read_bytes() for path in files if path.is_file()}


@pytest.mark.parametrize("parallel", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_fresh_database_beside_old_folders_trains_its_own(
    parallel: str, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document(capsys, "train", "matrix/climbing", "--algo", "vdn", "--seeds", "0,1", *QUICK)
    before = {
        p: p.read_bytes()
        for name in ("1", "1.1", "1.2")
        for p in (home / name).glob("**/*")
        if p.is_file()
    }
    for path in home.glob("qllm.db*"):
        path.unlink()

    words = ["matrix/climbing", "--seeds", "5,6", "--parallel", parallel, *QUICK]
    rows = document(capsys, "train", "--algo", "qmix", *words)["rows"]
    assert [(r["algo"], r["seed"], r["env_steps"]) for r in rows] == [
        ("qmix", 5, 800),
        ("qmix", 6, 800),
        ("qmix", None, 1600),
    ]
    assert {
        p: p.read_bytes()
        for name in ("1", "1.1", "1.2")
        for p in (home / name).glob("**/*")
        if p.is_file()
    } == before
    with open_store(home, readonly=True) as store:
        own = [store.run_dir(run_id) for run_id in (1, FIRST, SECOND)]
        assert [path.name.split("-")[0] for path in own] == ["1", "1.1", "1.2"]
        assert all("-" in path.name for path in own), "the old ones are left alone"
        assert [len(store.training.evaluations(run_id)) for run_id in (FIRST, SECOND)] == [3, 3]
    assert all(latest_checkpoint(path) is not None for path in own[1:])
    assert (own[0] / "report.html").is_file()

    whole = document(capsys, "train", "--algo", "qmix", "--home", str(tmp_path / "w"), *words)
    assert [r["return_mean"] for r in whole["rows"]] == [r["return_mean"] for r in rows]


def test_a_first_attempt_takes_nothing_that_is_there(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "matrix/climbing", "--seeds", "0,1", *QUICK]
    stopped_at(monkeypatch, 400, *words)
    with open_store(home) as store:
        waiting = store.make_run_dir(SECOND)
        assert store.runs.get(SECOND).attempt == 0
    shutil.copytree(home / "1.1" / "checkpoints", waiting / "checkpoints")
    assert document(capsys, "resume", "1", "--display", "none")["status"] == "finished"
    with open_store(home, readonly=True) as store:
        assert [e.env_steps for e in store.training.evaluations(SECOND)] == [0, 400, 800]
        assert store.runs.attempts(SECOND)[0].resumed_at == 0


# -- what a resumed run is held against ------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (["--algo", "qmix"], "algorithm.name qmix, here vdn"),
        (["--seeds", "5"], "seed 5, here 0"),
        (["learner.lr=0.1"], "learner.lr 0.1, here 0.003"),
    ],
)
def test_a_run_does_not_go_on_from_another_run_s_checkpoint(
    other: list[str],
    said: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "matrix/climbing", *QUICK]
    stopped_at(monkeypatch, 400, *words)
    stopped_at(monkeypatch, 400, *words, *other, "--home", str(tmp_path / "other"))
    shutil.rmtree(home / "1.1" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "1.1" / "checkpoints", home / "1.1" / "checkpoints")
    capsys.readouterr()
    assert run(["resume", "1", "--display", "none"]) == 1
    assert f"it is of another training: {said}" in capsys.readouterr().err
    with open_store(home, readonly=True) as store:
        training = store.runs.get(FIRST)
        assert (training.status, training.attempt) == ("failed", 1)
        assert said in (training.error or "")
        assert store.training.metrics(FIRST, "epsilon"), "what it had recorded still counts"


def test_settings_that_were_edited_in_the_store_are_noticed(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_at(monkeypatch, 400, "train", "matrix/climbing", *QUICK)
    with open_store(home) as store, store.database.write() as session:
        from qllm.store.schema import Run

        training = session.get(Run, FIRST)
        assert training is not None
        config = training.config
        training.config = {**config, "threads": 2, "learner": {**config["learner"], "gamma": 0.5}}
    capsys.readouterr()
    assert run(["resume", "1", "--display", "none"]) == 1
    assert "another training: learner.gamma None, here 0.5" in capsys.readouterr().err


@pytest.mark.usefixtures("_warm")
def test_a_run_trains_with_the_function_that_it_was_given(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "f.py"
    source.write_text("def tfcaf(state):\n    return state * 0 + 1.0, state[:, :1] * 0\n")
    words = ["train", "matrix/climbing", "--algo", "qllm", *QUICK, "sandbox.examples=10"]
    stopped_at(monkeypatch, 400, *words, "--tfcaf", str(source))
    with open_store(home) as store:
        store.runs.set_inputs(1, {**store.runs.get(1).inputs, "graph_hash": "0" * 64})
    capsys.readouterr()
    assert run(["resume", "1", "--display", "none"]) == 1
    said = capsys.readouterr().err
    assert "run 1 trains with 000000000000: put its own certificate back" in said


def test_a_lost_checkpoint_is_said_and_the_training_begins_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_at(monkeypatch, 400, "train", "matrix/climbing", *QUICK)
    shutil.rmtree(home / "1.1")
    capsys.readouterr()
    assert run(["resume", "1", "--display", "plain"]) == 0
    assert "run 1.1: no checkpoint is left" in capsys.readouterr().err
    with open_store(home, readonly=True) as store:
        assert [e.env_steps for e in store.training.evaluations(FIRST)] == [0, 400, 800]


def test_a_failure_before_an_attempt_is_recorded_and_costs_no_other_training(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_at(monkeypatch, 400, "train", "matrix/climbing", "--seeds", "0,1", *QUICK)
    from marl.errors import SettingsError

    def gone(*_: Any, **__: Any) -> Trainer:
        raise SettingsError("device 'cuda:1': this machine has 0 CUDA device(s)")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "resume", gone)
        assert run(["resume", "1", "--display", "none"]) == 1
    with open_store(home, readonly=True) as store:
        assert [store.runs.get(run_id).status for run_id in (FIRST, SECOND)] == [
            "failed",
            "finished",
        ]
        assert "cuda:1" in (store.runs.get(FIRST).error or "")
    assert document(capsys, "resume", "1", "--display", "none")["status"] == "finished"


# -- exports -------------------------------------------------------------------------------------


def test_an_export_does_not_replace_another_run_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in "01":
        document(capsys, "train", "matrix/climbing", "--seeds", seed, *QUICK)
    out = str(tmp_path / "numbers")
    for _ in range(2):
        document(capsys, "export", "1", "--out", out)
    before = (tmp_path / "numbers" / "metrics.csv").read_bytes()
    assert run(["export", "2", "--out", out]) == 2
    assert "holds the export of another run" in capsys.readouterr().err
    assert (tmp_path / "numbers" / "metrics.csv").read_bytes() == before
