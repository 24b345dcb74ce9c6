"""The list of environments can be read without loading any of them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from marl.envs.base import BatchedEnv
from marl.envs.kinds import ENVIRONMENTS, missing_engine, plays
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.settings.env import EnvConfig
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
    ("task", "settings"),
    [
        ("lbf/8x8-2p-2f-coop-2s", {"observe": "joint"}),
        ("matrix/climbing", {"opponent": "prey.pt"}),
        ("mpe/spread-3", {"factory": "mine:make"}),
        ("matrix/climbing", {"workers": 2}),
    ],
)
def test_a_setting_for_another_kind_of_task_is_refused(task: str, settings: dict[str, Any]) -> None:
    with pytest.raises(
        SettingsError, match=r"env\.\w+ is for tasks of kind [\w ]+, and .* leave it out"
    ):
        make_env(load_listed(task), 1, 0, config=EnvConfig.model_validate(settings))
