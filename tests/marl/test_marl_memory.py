"""A replay that does not fit is refused before it is taken, with the size that would fit."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from marl_toys import climbing, small_config

import marl.memory as module
from marl.envs.registry import make_env
from marl.errors import SettingsError
from marl.memory import available_bytes, cgroup_rooms, require_room
from marl.replay import Replay
from marl.settings.train import TrainConfig
from marl.trainer import Trainer

CPU = torch.device("cpu")
ENV = make_env(climbing(), 1, 0)
EPISODE = Replay.episode_bytes(25, n_agents=2, n_actions=3, obs_dim=3, state_dim=2)


def refused(config: TrainConfig, **more: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        require_room(config, ENV, CPU, **more)
    return str(caught.value)


def config(capacity: int, batch_size: int = 8, num_envs: int = 4) -> TrainConfig:
    learner = {"replay_capacity": capacity, "batch_size": batch_size}
    return small_config(learner=learner, env={"num_envs": num_envs})


def test_the_setting_to_lower_is_named_with_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_bytes", lambda device: 100_000 * EPISODE)
    said = refused(config(10**6))
    assert "learner.replay_capacity=1000000: so many episodes of" in said
    assert "25 steps of 2 x 3 observed numbers and a state of 2" in said
    fits = int(said.rpartition("lower it to ")[2])
    require_room(config(fits), ENV, CPU)
    assert refused(config(fits + 1)).endswith(f"lower it to {fits}")


def test_where_batches_alone_are_too_large_these_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_bytes", lambda device: 100 * EPISODE)
    found = re.search(
        r"lower it, env.num_envs and learner.batch_size to (\d+)$", refused(config(200, 64))
    )
    assert found
    few = int(found[1])
    require_room(config(few, few, few), ENV, CPU)
    monkeypatch.setattr(module, "available_bytes", lambda device: 2 * EPISODE)
    assert refused(config(200, 64)).endswith("or the card's horizon be shorter")


def test_trainings_at_once_need_a_replay_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_bytes", lambda device: 500 * EPISODE)
    require_room(config(300), ENV, CPU)
    assert "in each of 2 trainings at once, so many" in refused(config(300), at_once=2)


def test_a_training_is_refused_before_anything_is_taken() -> None:
    begin = psutil.Process().memory_info().vms
    with pytest.raises(SettingsError, match=r"learner\.replay_capacity=1000000000: .* lower it to"):
        Trainer(climbing(), small_config(learner={"replay_capacity": 10**9}), 0)
    assert psutil.Process().memory_info().vms - begin < 1e9


def test_a_limit_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cgroup_rooms", list)
    used = psutil.Process().memory_info().vms
    limit = (used + 10_000_000, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limit)
    assert 0 <= available_bytes(CPU) <= 10_000_000


@pytest.mark.parametrize("own", ["0::/job", "0::/elsewhere", "4:cpu,memory:/job", "7:cpu:/job"])
def test_the_limits_of_control_groups_count(tmp_path: Path, own: str) -> None:
    second = own.startswith("0")
    base = tmp_path / "cg" if second else tmp_path / "cg/memory"
    limit, used, idle = (
        ("memory.max", "memory.current", "inactive_file")
        if second
        else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    )
    for folder, most in ((base / "job", "1000"), (base, "max" if second else "5000")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(f"{most}\n")
        (folder / used).write_text("700\n")
        (folder / "memory.stat").write_text(f"anon 400\n{idle} 200\n")
    (tmp_path / "own").write_text(f"{own}\n")
    rooms = {"0::/job": [500], "0::/elsewhere": [], "4:cpu,memory:/job": [500, 4500]}
    assert cgroup_rooms(tmp_path / "cg", tmp_path / "own") == rooms.get(own, [])
    assert cgroup_rooms(tmp_path / "none", tmp_path / "none") == []
