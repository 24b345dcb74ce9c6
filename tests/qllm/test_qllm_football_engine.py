"""Football from the command line with the real engine: `make test-football`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qllm.cli.main import run
from qllm.doctor import _football
from qllm.store.store import open_store

pytestmark = [pytest.mark.football, pytest.mark.timeout(600)]

TASK = "football/pass-and-shoot"
QUICK = [
    "agent.hidden=16", "env.num_envs=4", "env.workers=2", "learner.batch_size=4",
    "learner.updates_per_rollout=1", "evaluation.every=400", "evaluation.episodes=4",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))


def test_the_doctor_plays_ten_steps() -> None:
    assert _football()["status"] == "ok", _football()["detail"]


def test_a_sampled_function_is_trained_reported_and_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["steps=600", "synth.rounds=1", "synth.candidates=2", "synth.pilot_steps=300"]
    assert run(["run", TASK, "--coder", "sampler", "sandbox.examples=10", *short, *QUICK]) == 0
    capsys.readouterr()
    assert run(["runs", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["algo"] for row in rows} == {"vdn", "qllm"}
    assert all(0 <= row["goal_rate_mean"] <= 1 for row in rows)
    assert "goal_rate" in (tmp_path / "home/1/report.html").read_text()
    assert run(["play", "1", "--out", "game.gif"]) == 0
    with Image.open("game.gif") as picture:
        assert picture.n_frames > 1


def evaluations(home: Path) -> list[Any]:
    with open_store(str(home), readonly=True) as store:
        (training,) = store.runs.trainings(1)
        found = store.training.evaluations(training.id)
        return [(e.env_steps, e.returns) for e in found]


def test_a_killed_training_goes_on_to_the_same_end(tmp_path: Path) -> None:
    words = [TASK, "--algo", "vdn", "steps=1500", "checkpoint_every=300", "--display", "none"]
    command = [sys.executable, "-m", "qllm.cli.main", "train", *words, *QUICK]
    path = {"PYTHONPATH": str(Path(__file__).parents[2])}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--home", str(whole)], check=True, env=os.environ | path)
    process = subprocess.Popen([*command, "--home", str(killed)], env=os.environ | path)
    while not list(killed.rglob("facts.json")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run(["resume", "1", "--home", str(killed), "--display", "none"]) == 0
    assert evaluations(killed) == evaluations(whole)
