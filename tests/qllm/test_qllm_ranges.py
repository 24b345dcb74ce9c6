"""What a sweep may choose from, and what is refused before anything trains."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from qllm.cli.main import run
from qllm.config.ranges import Choices, Param, Range, read_params


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))


def read(*words: str) -> tuple[Param, ...]:
    """The parameters, of settings that are all allowed."""
    return read_params(words, lambda more: None, fixed=(), aside=())  # type: ignore[arg-type, return-value]


def test_ranges_are_whole_where_the_setting_and_both_ends_are() -> None:
    assert read("learner.lr=1e-4..1e-2:log", "agent.hidden=16..1k", "learner.grad_clip=1..5") == (
        Range("learner.lr", 1e-4, 1e-2, log=True),
        Range("agent.hidden", 16, 1000, whole=True),
        Range("learner.grad_clip", 1.0, 5.0),
    )


def test_words_and_numbers_with_commas_are_choices() -> None:
    assert read("learner.target_update=soft,hard", "agent.hidden=64, 128") == (
        Choices("learner.target_update", ("soft", "hard")),
        Choices("agent.hidden", ("64", "128")),
    )


def test_a_chosen_number_is_short_and_stays_within_the_ends() -> None:
    (lr,) = read("learner.lr=0.00123456..0.00123457")
    assert lr.word(0.001234565) == "learner.lr=0.00123457"
    (lr,) = read("learner.lr=1e-4..1e-2")
    assert lr.word(0.00031234567) == "learner.lr=0.0003123"
    (hidden,) = read("agent.hidden=1..99999")
    assert hidden.word(98765) == "agent.hidden=98765"


SWEEP = ["sweep", "matrix/climbing", "--algo", "qmix"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing option '--param'"),
        (["--param", "learner.rl=1..2"], "did you mean learner.lr"),
        (["--param", "lerner.lr=1,2"], "did you mean learner.lr"),
        (["--param", "learner.lr=-1..1"], "learner.lr=-1 (on the command line): must be a number"),
        (["--param", "learner.td_lambda=0..2"], "learner.td_lambda=2"),
        (["--param", "agent.hidden=1.5..8"], "must be an integer"),
        (["--param", "learner.target_update=soft,hrad"], "learner.target_update=hrad"),
        (["--param", "learner.lr=1e-2..1e-4"], "the first end must be below the last one"),
        (["--param", "learner.lr=1..1"], "the first end must be below the last one"),
        (["--param", "learner.lr=1.."], "leaves nothing to choose"),
        (["--param", "learner.lr=1e-3"], "leaves nothing to choose"),
        (["--param", "learner.lr=1,,2"], "leaves nothing to choose"),
        (["--param", "learner.lr=1,1"], "a value appears twice"),
        (["--param", "learner.td_lambda=0..1:log"], "both ends must be above 0"),
        (["--param", "learner.lr"], "is no parameter: write KEY="),
        (["--param", "learner.lr=1..2", "--param", "learner.lr=1,2"], "given twice"),
        (["learner.lr=1", "--param", "learner.lr=1..2"], "given twice"),
        (["--param", "algorithm=vdn,qmix"], "algorithm is given twice"),
        (["--param", "seeds=0,1"], "all trials have the same"),
        (["--param", "evaluation.every=10..20"], "all trials have the same"),
        (["--param", "learner.lr=1..2", "--trials", "0"], "--trials"),
        (["--param", "learner.lr=1..2", "synth.rounds=2"], "`qllm train` does not read it"),
    ],
)
def test_a_wrong_sweep_is_one_clear_line_and_makes_no_store(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run([*SWEEP, *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_without_optuna_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "optuna" else found(name, *more)

    monkeypatch.setattr("importlib.util.find_spec", without)
    assert run([*SWEEP, "--param", "learner.lr=1e-3..1e-2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "needs the extra 'sweep'" in err
    assert err.count("\n") == 1
