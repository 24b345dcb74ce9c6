"""Sweeps: trials are runs, and a sweep that was killed or stopped goes on as if it had not been."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="needs the extra sweep")

from marl.checkpoint import latest_checkpoint
from qllm.cli.main import run
from qllm.store.store import open_store
from qllm.sweeps.pruning import Watch

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
QUICK = [
    "evaluation.every=100", "evaluation.episodes=4", "evaluation.final_episodes=4",
    "learner.batch_size=8", "--steps", "400",
]  # fmt: skip
SWEEP = [
    "sweep", "matrix/climbing", "--algo", "qmix", *QUICK, "--param", "learner.lr=1e-4..1e-2:log",
    "--param", "agent.hidden=8..32", "--param", "learner.target_update=soft,hard",
]  # fmt: skip
KILL = """
import os, sys
from qllm.sweeps.pruning import Watch
from qllm.cli.main import run

report = Watch._report

def die(watch, step, value):
    report(watch, step, value)
    if watch.trial.number == 1 and step == 200:
        os._exit(9)

Watch._report = die
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))


def swept(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """The document of a sweep."""
    capsys.readouterr()
    assert run([*SWEEP, *words, "--json", "--display", "none"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_killed_sweep_goes_on_with_its_run_and_comes_to_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--trials", "7", "checkpoint_every=200"]
    killed = subprocess.run(
        [sys.executable, "-c", KILL, *SWEEP, *words, "--display", "none"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        timeout=300,
    )
    assert killed.returncode == 9
    with open_store() as store:
        assert [one.status for one in store.runs.listed(top_level=True)] == ["running", "finished"]
    resumed = swept(capsys, *words)
    with open_store() as store:
        runs = store.runs.listed(top_level=True)
        assert sorted(run.attempt for run in runs) == [1, 1, 1, 1, 1, 1, 2]
        pruned = {run.id: run.error for run in runs if run.status == "stopped"}
    assert [t["run"] for t in resumed["trials"] if t["status"] == "pruned"] == sorted(pruned)[::-1]
    assert len(pruned) == 2
    assert all(why and why.startswith("pruned at step 200: ") for why in pruned.values())

    whole = swept(capsys, *words, "--home", str(tmp_path / "other"))
    assert resumed["trials"] == whole["trials"]
    assert resumed["command"] == whole["command"]


def test_the_command_of_the_best_trial_trains_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = swept(capsys, "--trials", "2", "--seeds", "3,4")
    best = document["best"]
    assert best["return_mean"] == max(trial["return_mean"] for trial in document["trials"])
    words = shlex.split(document["command"])
    assert run([*words[1:], "--json", "--display", "none"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["rows"][-1]["return_mean"] == best["return_mean"]
    assert run(["runs", str(best["run"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["command"] == document["command"]
    # No trial is left to do, so nothing is trained.
    assert swept(capsys, "--trials", "2", "--seeds", "3,4")["trials"] == document["trials"]


def test_ctrl_c_keeps_a_checkpoint_and_the_same_command_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(watch: Watch, step: int, value: float) -> None:
        watch.session.control.signal = signal.SIGINT

    with monkeypatch.context() as patched:
        patched.setattr(Watch, "_report", interrupted)
        assert run([*SWEEP, "--trials", "1", "--display", "none"]) == 130
    out, err = capsys.readouterr()
    assert "0 of 1 trials" in out
    assert "the same command goes on" in err
    with open_store() as store:
        (training,) = store.runs.trainings(1)
        assert training.status == "stopped"
        assert latest_checkpoint(store.run_dir(training.id)) is not None
    assert [trial["run"] for trial in swept(capsys, "--trials", "1")["trials"]] == [1]


def test_a_name_belongs_to_one_sweep_in_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(capsys, "--trials", "1")
    for other in (["--param", "learner.gamma=0.9..1"], ["learner.grad_clip=5"]):
        assert run([*SWEEP, "--trials", "1", *other]) == 2
        assert "give this one another --name" in capsys.readouterr().err
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys\nfile = open(sys.argv[1], 'a')\n"
            "fcntl.lockf(file, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()",
            str(tmp_path / "home" / "sweeps.lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert run([*SWEEP, "--trials", "2"]) == 2
        assert "is at work in another process" in capsys.readouterr().err
    with open_store() as store:
        assert len(store.runs.listed(top_level=True)) == 1


def test_a_trial_that_fails_counts_and_the_sweep_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["sweep", "matrix/climbing", *QUICK, "--param", "learner.lr=1e-3,1e38", "--json"]
    assert run([*words, "--trials", "4"]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert {(t["status"], t["settings"]["learner.lr"]) for t in trials} == {
        ("finished", "1e-3"),
        ("failed", "1e38"),
    }
    assert all(t["error"] for t in trials if t["status"] == "failed")


def test_what_cannot_train_is_said_before_anything_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SWEEP, "--param", "learner.replay_capacity=100..1000000000000"]) == 2
    assert "learner.replay_capacity=1000000000000: " in capsys.readouterr().err
    with open_store() as store:
        assert store.runs.listed() == []
