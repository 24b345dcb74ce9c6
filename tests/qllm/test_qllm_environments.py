"""What jobs make of environments that do not fit their card, the settings or the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.cards import TASKS_DIR
from qllm.cli.main import run
from qllm.config.tree import RunConfig
from qllm.errors import WorkError
from qllm.jobs.states import sample_rows

CLIMBING = (TASKS_DIR / "matrix/climbing.yaml").read_text()
SMALL = ["steps=300", "agent.hidden=4", "learner.batch_size=4", "evaluation.episodes=2"]


def test_a_wrong_range_is_said_once_for_all_trainings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "narrow.yaml"
    card.write_text(CLIMBING.replace("high: 2", "high: 1"))
    words = ["compare", str(card), "--algos", "vdn,qmix", "--seeds", "0,1", "--home", str(tmp_path)]
    assert run([*words, "--display", "plain", *SMALL]) == 0
    said = capsys.readouterr().err
    assert said.count("state column last_action[0] reached 2, and the card says -1 to 1") == 1


def test_a_replay_beyond_the_memory_is_refused_before_a_run_exists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "matrix/climbing", "--algo", "vdn", "learner.replay_capacity=1000000000"]
    assert run([*words, "--home", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "lower it to" in said
    assert not list(tmp_path.glob("runs/*"))


def test_a_card_that_is_not_finite_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, source = tmp_path / "nan.yaml", tmp_path / "f.py"
    card.write_text(CLIMBING.replace("sentinels: [-1]", "sentinels: [.nan]"))
    source.write_text("def f(state):\n    return state, state[:, :1]\n")
    assert run(["check", str(source), "--task", str(card)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "state.0.sentinels.0: Input should be a finite number" in said


def test_sample_rows_are_those_of_an_episode_and_end_with_it() -> None:
    pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
    from marl_pettingzoo_batches import card
    from marl_pettingzoo_toys import FILE

    config = {"task": "toy", "env": {"factory": f"{FILE}:Toy", "workers": 1}}
    rows = sample_rows(card(horizon=50), RunConfig.model_validate(config), 50)
    assert 2 <= len(rows) <= 7
    assert all(row.reward > 0 for row in rows)
    config["env"] = {"factory": f"{FILE}:Failing", "workers": 1}
    with pytest.raises(WorkError, match="the den collapsed"):
        sample_rows(card(), RunConfig.model_validate(config), 50)
