"""A run has one unit of Q: measured once where the card gives none, stored, and never changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompts.cards import TASKS_DIR
from qllm.cli.main import run
from qllm.config.build import from_stored
from qllm.store.store import open_store

QUICK = ["evaluation.every=100", "evaluation.episodes=1", "agent.hidden=8", "--display", "none"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


@pytest.fixture
def unscaled(tmp_path: Path) -> Path:
    """The climbing game without a scale."""
    card = tmp_path / "mine.yaml"
    text = (TASKS_DIR / "matrix/climbing.yaml").read_text()
    card.write_text(text.replace(", scale: 1}", "}"))
    return card


def test_a_measured_scale_is_one_for_all_trainings_and_shown_to_the_coder(
    home: Path, unscaled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "compare", str(unscaled), "--algos", "vdn,qmix"]
    assert run([*words, "--seeds", "0,1", "--steps", "100", *QUICK, "--json"]) == 0
    capsys.readouterr()
    with open_store(home, readonly=True) as store:
        found = [from_stored(one.config).learner.reward_scale for one in store.runs.family(1)]
        used = [one.result["reward_scale"] for one in store.runs.children(1) if one.result]
    # The root mean square of the pay-offs other than 0: sqrt(2031 / 6).
    assert found == [18.0] * 5
    assert used == [18.0] * 4
    assert run(["--home", str(home), "prompts", "show", str(unscaled)]) == 0
    assert "that reward divided by 18, so a step is worth -1.66667 to" in capsys.readouterr().out


def test_a_run_of_standardised_rewards_is_shown_and_not_resumed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", str(home), "train", "matrix/climbing", "--steps", "100", *QUICK]
    assert run(words) == 0
    with open_store(home) as store:
        for one in store.runs.family(1):
            config = json.loads(json.dumps(one.config))
            del config["learner"]["reward_scale"]
            config["learner"]["standardise_rewards"] = True
            store.runs.set_config(one.id, config)
            store.runs.finish(one.id, "stopped")
    capsys.readouterr()
    assert run(["--home", str(home), "report", "1"]) == 0
    capsys.readouterr()
    assert run(["--home", str(home), "resume", "1"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said == (
        "qllm: run 1 learned from raw or standardised rewards, and this version divides them by a "
        "fixed scale: `qllm report 1` shows it, but it cannot be resumed"
    )
    assert run([*words, "--continue"]) == 0
    with open_store(home, readonly=True) as store:
        assert store.runs.get(1).status == "stopped"
        assert [one.status for one in store.runs.listed(top_level=True)] == ["finished", "stopped"]
