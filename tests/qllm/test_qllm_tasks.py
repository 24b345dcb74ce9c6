"""Tasks that nothing plays yet: they are listed as such, and refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompts.cards import TASKS_DIR
from qllm.cli.main import run


@pytest.fixture
def unplayable(tmp_path: Path) -> str:
    """A card whose environment will never exist."""
    text = (TASKS_DIR / "matrix/climbing.yaml").read_text()
    path = tmp_path / "chess.yaml"
    path.write_text(text.replace("kind: matrix", "kind: chess"))
    return str(path)


def test_the_list_says_what_each_task_serves_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (climbing,) = (line for line in lines if line.startswith("matrix/climbing "))
    assert climbing.split()[1:4] == ["2", "2", "25"]
    assert climbing.endswith("play and check")


def test_a_card_says_whether_it_can_be_played(
    unplayable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tasks", unplayable]) == 0
    assert "checks only, no environment yet" in capsys.readouterr().out
    assert run(["tasks", unplayable, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["has_environment"] is False
    assert run(["tasks", "matrix/climbing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["has_environment"] is True


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--algo", "vdn"],
        ["train", "--algo", "qllm", "--tfcaf", "nowhere.py"],
        ["run"],
        ["compare", "--algos", "vdn,qmix"],
        ["synth"],
        ["bench", "env", "--task"],
    ],
)
def test_work_on_an_unplayable_task_is_refused_in_one_line(
    command: list[str], unplayable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*command, unplayable] if command[0] == "bench" else [command[0], unplayable]
    words += [] if command[0] == "bench" else command[1:]
    home = tmp_path / "home"
    assert run([*words, "--home", str(home)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "environment of kind 'chess'" in said.err
    assert not list(home.glob("runs/*"))
