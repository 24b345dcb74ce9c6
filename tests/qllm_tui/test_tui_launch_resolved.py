"""The form and ``--dry-run`` show what a job would really run with."""

from __future__ import annotations

from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.config import yaml_text
from qllm.tui.form.answer import check, offer
from qllm.tui.form.fields import Command


@pytest.mark.parametrize("command", ["run", "synth", "train", "compare"])
@pytest.mark.parametrize("preset", ["equal", "epymarl", "paper"])
def test_the_form_shows_what_a_dry_run_prints(
    command: Command, preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["mpe/spread-3", f"preset={preset}"]
    assert run(["--home", str(tmp_path / "none"), command, *words, "--dry-run"]) == 0
    printed = yaml_text.parse(capsys.readouterr().out)
    shown = check(command, words[0], words[1:]).defaults
    assert int(shown["steps"]) == printed["steps"] == 2_000_000
    assert float(shown["learner.lr"]) == printed["learner"]["lr"]
    assert shown["learner.target_update"] == printed["learner"]["target_update"]
    assert not (tmp_path / "none").exists()


def test_a_dry_run_can_be_fed_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "mpe/spread-3", "--algo", "qmix", "preset=paper", "--dry-run"]) == 0
    text = capsys.readouterr().out
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    assert run(["train", "--config", str(file), "--dry-run"]) == 0
    assert capsys.readouterr().out == text


def test_an_offer_has_the_defaults_of_the_chosen_task() -> None:
    checked = check("train", "mpe/spread-3", [])
    settings = {s.path: s.default for s in offer().resolved(checked.defaults).settings}
    assert (settings["steps"], settings["learner.lr"]) == ("2000000", "0.001")
    assert settings["preset"] == "equal"
