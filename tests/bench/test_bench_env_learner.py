"""The benchmarks return the rows that they promise; how fast is not a test's business."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest
import torch

import bench.env
import bench.learner
from bench.env import bench_env
from bench.learner import bench_learner
from marl.settings.train import TrainConfig
from prompts.cards import load_card


def test_environment_rows_carry_speed_and_settings() -> None:
    rows = bench_env(load_card("matrix/climbing"), num_envs=(2, 16), seconds=0.05)
    assert [row["num_envs"] for row in rows] == [2, 16]
    for row in rows:
        assert row["task"] == "matrix/climbing"
        assert row["env_steps_per_s"] > 0
        assert row["device"] == "cpu"


class EndsEarly:
    """Instance i of three ends after i + 1 of 10 steps, and is frozen from then on."""

    num_envs, horizon, device = 3, 10, torch.device("cpu")

    def reset(self) -> None:
        self._time = 0

    def step(self, actions: torch.Tensor) -> None:
        self._time += 1

    @property
    def done(self) -> torch.Tensor:
        return self._time >= torch.tensor([1, 2, 3])


def test_frozen_steps_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.0, 1.0, 4.0, 4.0])  # begin, two episodes, the end
    monkeypatch.setattr(bench.env.time, "perf_counter", lambda: next(moments))
    env: Any = EndsEarly()
    rate = bench.env._run(env, torch.zeros(3, 10, 1, dtype=torch.int64), seconds=4.0)
    assert rate == pytest.approx(2 * (1 + 2 + 3) / 4.0)


def test_processes_beside_a_training_are_busy_until_it_ends() -> None:
    before = psutil.Process().children()
    with bench.learner._busy(2):
        beside = [p for p in psutil.Process().children() if p not in before]
        assert len(beside) == 2
        until = time.monotonic() + 30
        while min(sum(p.cpu_times()[:2]) for p in beside) < 0.1:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert not any(p.is_running() for p in beside)


@pytest.mark.parametrize("name", ["vdn", "qmix"])
def test_a_learner_row_accounts_for_all_the_time(name: str) -> None:
    threads = torch.get_num_threads()
    config = TrainConfig.model_validate(
        {
            "algorithm": {"name": name},
            "device": "cpu",
            "agent": {"hidden": 8},
            "learner": {"batch_size": 16, "updates_per_rollout": 3},
        }
    )
    row = bench_learner(load_card("matrix/climbing"), config, rollouts=4)
    assert (row["task"], row["algo"]) == ("matrix/climbing", name)
    assert row["env_steps"] == 4 * 8 * 25
    assert row["updates"] == 4 * 3
    assert row["updates_per_episode"] == 3 / 8
    assert row["env_steps_per_s"] == pytest.approx(row["env_steps"] / row["seconds"])
    assert set(row["breakdown"]) == {
        "rollout",
        "sampling",
        "forward",
        "backward",
        "optimiser",
        "other",
    }
    assert sum(row["breakdown"].values()) == pytest.approx(row["seconds"])
    assert torch.get_num_threads() == threads
