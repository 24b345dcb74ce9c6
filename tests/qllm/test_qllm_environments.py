"""What jobs make of environments that do not fit their card, the settings or the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.cards import TASKS_DIR, EnvSpec, load_card
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


BRIEF = """
from gymnasium import spaces
from pettingzoo import ParallelEnv

class Brief(ParallelEnv):
    possible_agents = ["a", "b"]

    def observation_space(self, agent): return spaces.Discrete(4)
    def action_space(self, agent): return spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        self.t, self.agents = 0, ["a", "b"]
        return {"a": 0, "b": 0}, {}

    def step(self, actions):
        self.t += 1
        over = {a: self.t == 3 for a in "ab"}
        self.agents = [] if self.t == 3 else ["a", "b"]
        return dict.fromkeys("ab", self.t), dict.fromkeys("ab", 1), over, {}, {}

class Failing(Brief):
    def step(self, actions): raise RuntimeError("no more moves")
"""


def test_sample_rows_are_those_of_an_episode_and_end_with_it(tmp_path: Path) -> None:
    pytest.importorskip("pettingzoo", reason="environments of PettingZoo need it")
    (tmp_path / "brief.py").write_text(BRIEF)
    options = {"env": EnvSpec(kind="pettingzoo"), "horizon": 50}
    card = load_card("matrix/climbing").model_copy(update=options)

    def config(name: str) -> RunConfig:
        env = {"kind": "pettingzoo", "factory": f"{tmp_path}/brief.py:{name}", "workers": 1}
        return RunConfig.model_validate({"task": "matrix/climbing", "env": env})

    rows = sample_rows(card, config("Brief"), 50)
    assert [row.state for row in rows] == [(0, 0), (1, 1), (2, 2)]
    assert [row.reward for row in rows] == [2, 2, 2]
    with pytest.raises(WorkError, match="RuntimeError: no more moves"):
        sample_rows(card, config("Failing"), 50)
