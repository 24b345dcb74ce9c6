"""A run's opponent and environment are found again from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl.settings.env import MpeEnvConfig, PettingZooEnvConfig
from qllm.config.tree import RunConfig
from qllm.jobs.tasks import with_absolute_paths


def test_the_path_of_an_opponent_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"task": "mpe/tag", "env": {"kind": "mpe", "opponent": "prey.pt", "num_envs": 3}}
    env = with_absolute_paths(RunConfig.model_validate(settings)).env
    assert isinstance(env, MpeEnvConfig)
    assert (env.opponent, env.num_envs) == (str(tmp_path / "prey.pt"), 3)


def test_without_an_opponent_the_environment_stays_as_it_is() -> None:
    config = RunConfig(task="mpe/tag")
    assert with_absolute_paths(config).env == config.env


def test_the_path_of_a_factorys_file_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, wanted in (
        ("mine.py:make", f"{tmp_path}/mine.py:make"),
        ("my.package:make", "my.package:make"),
    ):
        settings = {"task": "mine.yaml", "env": {"kind": "pettingzoo", "factory": given}}
        env = with_absolute_paths(RunConfig.model_validate(settings)).env
        assert isinstance(env, PettingZooEnvConfig)
        assert env.factory == wanted
