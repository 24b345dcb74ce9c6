"""Whatever a store, a card or a file says, commands show it and no terminal obeys it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from poisoned_store import ACTING, POISON, poison
from small_store import fill_store

from qllm.cli.main import run
from qllm.store.store import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    fill_store(tmp_path / "home")
    return tmp_path / "home"


COMMANDS = [
    "runs",
    "runs --all",
    "runs --all --json",
    "runs 1",
    "runs 1 --json",
    "runs 1.1",
    "candidates TASK",
    "candidates TASK --all --json",
    "candidates TASK --show 1",
    "candidates TASK --show 1 --json",
    "candidates TASK --diff 1 1",
    "report 1 --out r.html",
    "report --compare 1 1.1 --out c.html",
    "export 1 --out e",
    "resume 1 --display plain",
    "resume 1.1 --display none",
    "stop 1",
    "approve 1",
    "replay 1",
    "explain 1 --task TASK",
    "explain 2 --task TASK",
    "train TASK --algo qllm --tfcaf 2 --display plain",
    "synth TASK --from 99 --display plain",
]


@pytest.mark.parametrize("kinds", [False, True])
def test_no_command_lets_the_store_s_texts_act(
    kinds: bool, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(home, kinds=kinds)
    with open_store(home, readonly=True) as store:
        task = store.runs.get(1).task
    for command in COMMANDS:
        words = [task if word == "TASK" else word for word in command.split()]
        assert run(words) in (0, 1, 2), command
        out, err = capsys.readouterr()
        assert not ACTING & set(out + err), command
        assert "internal error" not in err, command
        # What stands in a text can never begin a line of its own.
        assert not [line for line in (out + err).splitlines() if line.startswith("qllm run x")]


def test_what_is_shown_is_still_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    poison(home, kinds=False)
    assert run(["runs", "1"]) == 0
    out = capsys.readouterr().out
    assert "␛]52;c;ZXZpbA==␇␛[2J\\x9b31m⟨U+202E⟩⟨U+2066⟩[bold red]x[/]" in out


CARD = """\
name: mine
title: {poison}
prose: {poison}
n_agents: 2
n_actions: 2
action_names: [{poison}, b]
horizon: 3
reward: {{low: 0, high: 1, meaning: {poison}}}
state:
  - {{name: x, shape: [2], kind: real, low: 0, high: 1, meaning: {poison}}}
env: {{kind: none}}
"""


def test_a_card_s_words_are_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "mine.yaml"
    card.write_text(CARD.format(poison=json.dumps(POISON)))
    for words in (["tasks", str(card)], ["prompts", "show", str(card)], ["tasks", POISON]):
        run(words)
        out, err = capsys.readouterr()
        assert not ACTING & set(out + err), words
    assert run(["tasks", str(card)]) == 2
    assert "has control characters" in capsys.readouterr().err


def test_commands_print_through_what_makes_text_safe() -> None:
    """A bare ``print`` in a command would let the next text through that nobody thought of."""
    allowed = {("failures.py", "say"), ("work.py", "print_json"), ("main.py", "_version")}
    found = set()
    for path in (*(ROOT / "qllm" / "cli").glob("*.py"), ROOT / "qllm" / "doctor.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                        found.add((path.name, function.name))
    assert found == allowed
