"""The list of environments can be read without loading any of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from marl.envs.base import BatchedEnv
from marl.envs.kinds import ENVIRONMENTS, plays
from marl.envs.missing import missing_engine
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import EnvConfig, MatrixEnvConfig, MpeEnvConfig
from marl.settings.train import TrainConfig
from prompts.cards import list_tasks, load_listed


def test_reading_the_list_loads_no_torch() -> None:
    code = "import sys, marl.envs.kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize("name", list_tasks())
def test_a_task_is_said_to_be_playable_exactly_when_it_is(name: str) -> None:
    card = load_listed(name)
    missing = missing_engine(card)
    if missing is not None:
        with pytest.raises(SettingsError, match="make football"):
            make_env(card, 1, 0)
    elif plays(card):
        assert isinstance(make_env(card, 1, 0), BatchedEnv)
    else:
        with pytest.raises(ValueError, match="no environment of kind"):
            make_env(card, 1, 0)


def test_the_matrix_games_are_playable() -> None:
    assert "matrix" in ENVIRONMENTS


@pytest.mark.parametrize(
    ("task", "settings", "said"),
    [
        ("lbf/8x8-2p-2f-coop-2s", MatrixEnvConfig(observe="joint"), "kind matrix, not lbf"),
        ("matrix/climbing", MpeEnvConfig(), "kind mpe, not matrix"),
    ],
)
def test_settings_for_another_kind_of_task_are_refused(
    task: str, settings: EnvConfig, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        make_env(load_listed(task), 1, 0, config=settings)


def test_settings_of_no_kind_fit_every_task() -> None:
    settings = EnvConfig(num_envs=3, time_limit="truncation").of("mpe")
    assert settings == MpeEnvConfig(num_envs=3, time_limit="truncation")
    assert EnvConfig().of("lbf") == EnvConfig(kind="lbf")


def test_a_key_of_another_kind_is_said_to_be_of_that() -> None:
    with pytest.raises(ValidationError, match="opponent is for tasks of kind mpe, not 'matrix'"):
        TrainConfig.model_validate({"env": {"kind": "matrix", "opponent": "prey.pt"}})


def test_settings_keep_their_kind_on_the_way_through_json() -> None:
    config = TrainConfig.model_validate({"env": {"kind": "matrix", "observe": "joint"}})
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
