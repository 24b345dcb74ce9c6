"""Football from the command line, played by something that only looks like its engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from qllm.cli.main import run
from qllm.doctor import _football

pytestmark = pytest.mark.long

TASK = "football/pass-and-shoot"
FUNCTION = Path(__file__).parents[2] / "bench/functions/football/shooting_range.py"
QUICK = [
    "steps=300", "agent.hidden=8", "env.num_envs=4", "env.workers=1", "learner.batch_size=4",
    "learner.updates_per_rollout=1", "evaluation.every=150", "evaluation.episodes=4",
    "sandbox.examples=10",
]  # fmt: skip


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("_here", "_warm", "fake_football")
def test_a_trained_run_tells_goal_rates_and_can_be_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", TASK, "--algo", "qllm", "--tfcaf", str(FUNCTION), *QUICK]
    assert run(train) == 0
    said = capsys.readouterr()
    (header,) = (line for line in said.out.splitlines() if line.startswith("algo "))
    assert header.index("goal_rate") < header.index("return")
    assert "4 engines of gfootball 2.10.2 in 1 processes take" in said.err

    assert run(["runs", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) == 2
    for row in rows:
        assert row["metrics"] == ["goal_rate"]
        assert 0 <= row["goal_rate_mean"] <= 1

    folder = tmp_path / "home/1"
    assert (folder / "curves-goal_rate.png").is_file()
    assert "Learning curves of goal_rate" in (folder / "report.html").read_text()
    assert run(["export", "1", "--out", "out"]) == 0
    assert ",eval_goal_rate," in Path("out/metrics.csv").read_text()
    assert "goal_rate_mean" in Path("out/results.csv").read_text().splitlines()[0]
    assert run(["train", TASK, "--algo", "vdn", *QUICK[:-1]]) == 0
    capsys.readouterr()
    assert run(["report", "--compare", "1", "2", "--out", "both.html"]) == 0
    assert '<th class="n">goal_rate<' in Path("both.html").read_text()
    capsys.readouterr()

    assert run(["play", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    with Image.open(found["picture"]) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames <= found["steps"] + 1  # frames that are alike become one
        assert picture.n_frames > 1
    assert run(["evaluate", "1", "--episodes", "6", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["metrics"] == ["goal_rate"]
    assert len(row["metric_values"]["goal_rate"]) == len(row["returns"]) == 6


@pytest.mark.usefixtures("_here")
def test_a_task_whose_engine_is_missing_is_marked_and_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QLLM_FOOTBALL_PYTHON", "/nowhere")
    assert run(["tasks"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("football/")]
    assert len(lines) == 3
    assert [line for line in lines if not line.endswith("check (`make football`)")] == []
    assert run(["tasks", TASK, "--json"]) == 0
    assert "make football" in json.loads(capsys.readouterr().out)["missing_engine"]
    assert run(["train", TASK, "--algo", "vdn", *QUICK]) == 2
    error = capsys.readouterr().err.strip()
    assert "run `make football`" in error.splitlines()[-1]
    assert run(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_old_name_of_a_task_leads_to_the_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "football/academy-3-vs-1"]) == 2
    assert "did you mean football/3-vs-1 (its new name" in capsys.readouterr().err


def test_the_doctor_plays_ten_steps(
    tmp_path: Path,
    football_like: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    football_like(Path(__file__).parents[1] / "fake_football")
    assert _football()["status"] == "ok"
    football_like(tmp_path)
    found = _football()
    assert (found["status"], "`make football`" in found["detail"]) == ("fail", True)
    monkeypatch.setenv("QLLM_FOOTBALL_PYTHON", "/nowhere")
    assert _football()["status"] == "warn"


def test_make_football_names_the_packages_that_are_missing(tmp_path: Path) -> None:
    # A g++ that finds no header stands in for a machine without them.
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    script = Path(__file__).parents[2] / "scripts/football.sh"
    done = subprocess.run(
        [script, tmp_path / "venv"],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "missing Debian packages: apt-get install -y --no-install-recommends " in line
    assert "libsdl2-dev" in line
    assert not (tmp_path / "venv").exists()
