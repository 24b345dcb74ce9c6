"""The benchmarks return the rows that they promise; how fast is not a test's business."""

from __future__ import annotations

import pytest
import torch

from bench.env import bench_env
from bench.learner import bench_learner
from marl.config import TrainConfig
from prompts.cards import load_card


def test_environment_rows_carry_speed_and_settings() -> None:
    rows = bench_env(load_card("matrix/climbing"), num_envs=(2, 16), seconds=0.05)
    assert [row["num_envs"] for row in rows] == [2, 16]
    for row in rows:
        assert row["task"] == "matrix/climbing"
        assert row["env_steps_per_s"] > 0
        assert row["device"] == "cpu"


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
