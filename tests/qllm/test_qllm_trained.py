"""``qllm evaluate`` and ``qllm play``: the same numbers and pictures of a run every time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageSequence

from qllm.cli.main import run

QUICK = ["agent.hidden=8", "learner.batch_size=4", "learner.updates_per_rollout=1"]
QUICK += ["evaluation.episodes=4", "evaluation.final_episodes=4", "--display", "none"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run 1: two trainings on climbing; run 2: one on spread, whose returns all differ."""
    folder = tmp_path_factory.mktemp("home")
    words = ["--seeds", "0,1", "steps=300", *QUICK, "--home", str(folder)]
    assert run(["train", "matrix/climbing", "--algo", "vdn", *words]) == 0
    words = ["steps=200", "learner.batch_size=20", *QUICK[2:], "--home", str(folder)]
    assert run(["train", "mpe/spread-3", "--algo", "qmix", *words]) == 0
    return folder


@pytest.fixture
def evaluate(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """The document of ``qllm evaluate``."""

    def document(*words: str) -> Any:
        capsys.readouterr()
        assert run(["evaluate", *words, "--json", "--home", str(home)]) == 0
        return json.loads(capsys.readouterr().out)

    return document


def test_the_same_seed_gives_the_same_numbers(evaluate: Callable[..., Any]) -> None:
    first, again = (evaluate("2", "--episodes", "5") for _ in range(2))
    for found in (first, again):
        assert found["rows"][0].pop("env_steps_per_s") > 0
    assert first == again
    (row,) = first["rows"]
    assert (row["number"], row["step"], len(set(row["returns"]))) == ("2.1", 200, 5)
    assert row["return_mean"] == pytest.approx(sum(row["returns"]) / 5)
    assert row["return_mean_ci"][0] < row["return_mean"] < row["return_mean_ci"][1]
    assert row["return_median"] == sorted(row["returns"])[2]
    assert (row["return_min"], row["return_max"]) == (min(row["returns"]), max(row["returns"]))
    assert evaluate("2", "--episodes", "5", "--seed", "1")["rows"][0]["returns"] != row["returns"]


def test_a_training_s_own_evaluation_has_the_same_returns(
    home: Path, evaluate: Callable[..., Any]
) -> None:
    """Run 2 has learned nothing yet: its networks are those that its first evaluation saw."""
    from qllm.store.store import open_store

    with open_store(home, readonly=True) as store:
        (training,) = store.runs.trainings(2)
        first = store.training.evaluations(training.id)[0]
    assert (first.env_steps, training.seed) == (0, 0)
    assert evaluate("2", "--episodes", "4")["rows"][0]["returns"] == list(first.returns)


def test_each_training_of_a_run_has_a_row(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "1", "--checkpoint", "best", "--home", str(home)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "matrix/climbing: 100 greedy episodes of each training, seed 0"
    words = ["run", "algo", "seed", "step", "mean", "95%", "of", "mean", "median", "min", "max"]
    assert said[2].split() == [*words, "steps/s"]
    assert [line.split()[:3] for line in said[3:5]] == [["1.1", "vdn", "0"], ["1.2", "vdn", "1"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["7"], "no run 7"),
        (["1", "--checkpoint", "last"], "'last' is no checkpoint: newest, best"),
        (["1", "--checkpoint", "77"], "run 1.1: no checkpoint in"),
        (["1", "--episodes", "0"], "--episodes 0: from 1 to 65,536"),
        (["1", "--task", "matrix/climbin"], "did you mean matrix/climbing"),
        (["1", "--task", "mpe/tag"], "run 1.1: the agents do not fit task 'mpe/tag': 16 obs"),
    ],
)
def test_wrong_use_is_one_clear_line(
    words: list[str], said: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", *words, "--home", str(home)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_an_episode_is_drawn_with_its_return(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["play", "2", "--json"], ["play", "2", "--out", "again.gif", "--json"]):
        assert run([*words, "--home", str(home)]) == 0
    documents = capsys.readouterr().out.replace("}\n{", "}|{").split("|")
    first, again = map(json.loads, documents)
    assert (first["steps"], first["picture"]) == (25, "play-2.gif")
    assert first["return"] == again["return"] < 0
    assert Path("play-2.gif").read_bytes() == Path("again.gif").read_bytes()
    with Image.open("play-2.gif") as picture:
        assert (picture.format, getattr(picture, "n_frames", 0)) == ("GIF", 26)
    assert run(["play", "1.2", "--checkpoint", "best", "--home", str(home)]) == 0
    assert "greedy vdn agents of run 1.2 after 400 steps: 25 steps" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_film_is_as_long_as_its_picture(home: Path, tmp_path: Path) -> None:
    film, picture = tmp_path / "a.mp4", tmp_path / "a.gif"
    for path in (film, picture):
        assert run(["play", "2", "--out", str(path), "--home", str(home)]) == 0
    question = ["-show_entries", "stream=codec_name,width,height,duration", "-of", "json"]
    seen = subprocess.run(["ffprobe", "-v", "error", *question, film], capture_output=True)
    (stream,) = json.loads(seen.stdout)["streams"]
    with Image.open(picture) as gif:
        shown = sum(f.info["duration"] for f in ImageSequence.Iterator(gif)) / 1000
        assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", *gif.size)
    assert float(stream["duration"]) == pytest.approx(shown, abs=0.1)


def test_a_film_is_written_by_ffmpeg_where_there_is_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["play", "1", "--out", str(tmp_path / "a.mp4"), "--home", str(home)]
    assert run(words) == 2
    assert "written by ffmpeg, which is not on the PATH: install it" in capsys.readouterr().err
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho Unknown encoder >&2\nexit 1\n")
    program.chmod(0o755)
    assert run(words) == 1
    assert f"{program}: Unknown encoder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [program], "nothing half is left"
    assert run(["play", "1", "--checkpoint", "77", "--home", str(home)]) == 2
    assert "run 1: no checkpoint in" in capsys.readouterr().err
    assert run([*words[:3], "a.png", *words[4:]]) == 2
    assert "must end in .gif or .mp4" in capsys.readouterr().err
