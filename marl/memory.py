"""How much memory there is, before any of it is taken.

The kernel promises more memory than there is and kills whoever comes to use it, so what will be
needed is worked out and held against what is left.
"""

from __future__ import annotations

import resource
from pathlib import Path

import psutil
import torch

from marl.envs.base import BatchedEnv
from marl.episodes import own_rewards
from marl.errors import SettingsError
from marl.replay import Replay
from marl.settings.train import TrainConfig

_SHARE = 0.9
"""Of what is available; networks and the processes beside us want some, too."""
_PER_ROLLOUT, _PER_BATCH = 2, 3
"""Copies of an episode while one is collected, and while one is learned from."""


def require_room(
    config: TrainConfig, env: BatchedEnv, device: torch.device, *, at_once: int = 1
) -> None:
    """Find out whether the replay and what is copied from and to it fit the memory.

    Args:
        config: settled settings.
        env: an environment of the task, of any number of instances.
        device: where the replay is kept.
        at_once: trainings with a replay of their own.

    Raises:
        SettingsError: they do not; the message says which setting to lower, and how far.
    """
    episode = Replay.episode_bytes(
        env.horizon,
        n_agents=env.n_agents,
        n_actions=env.n_actions,
        obs_dim=env.obs_dim,
        state_dim=env.state_dim,
        dtype=env.dtype,
        extras=own_rewards(config.learner, env.n_agents),
    )
    learner, envs = config.learner, config.env.num_envs
    moving = _PER_ROLLOUT * envs + _PER_BATCH * learner.batch_size
    needed = at_once * episode * (learner.replay_capacity + moving)
    room = int(_SHARE * available_bytes(device))
    if needed <= room:
        return
    possible = room // (at_once * episode)
    fits, few = possible - moving, possible // (1 + _PER_ROLLOUT + _PER_BATCH)
    if fits >= max(envs, learner.batch_size):
        advice = f"lower it to {fits}"
    elif few:
        advice = f"lower it, env.num_envs and learner.batch_size to {few}"
    else:
        advice = "let the environment show less, or the card's horizon be shorter"
    trainings = f"in each of {at_once} trainings at once, " if at_once > 1 else ""
    raise SettingsError(
        f"learner.replay_capacity={learner.replay_capacity}: {trainings}so many episodes of "
        f"{_gigabytes(episode)} ({env.horizon} steps of {env.n_agents} x {env.obs_dim:,} observed "
        f"numbers and a state of {env.state_dim:,}), rollouts and batches need "
        f"{_gigabytes(needed)}, and {_gigabytes(room)} are available on {device}: {advice}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, of the CPU or of a GPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


def available_bytes(device: torch.device) -> int:
    """Memory that can still be taken on a device, within the limits of this process."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    rooms = [psutil.virtual_memory().available, *cgroup_rooms()]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        rooms.append(max(0, limit - psutil.Process().memory_info().vms))
    return min(rooms)


def cgroup_rooms(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[int]:
    """What the control groups around this process leave it, of either version, as containers set.

    Args:
        root: where control groups are mounted.
        own: the list of those that this process is in.
    """
    rooms = []
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit, used, idle = (
            names if controllers else ("memory.max", "memory.current", "inactive_file")
        )
        # Within a container the path may be that of its host, and the mount already be its own.
        folder = mount / path.lstrip("/")
        for place in (folder, *folder.parents):
            if place == mount.parent:
                break
            most, taken = _text(place / limit).strip(), _text(place / used).strip()
            if most.isdecimal() and taken.isdecimal():
                statistics = dict(row.split() for row in _text(place / "memory.stat").splitlines())
                rooms.append(max(0, int(most) - int(taken) + int(statistics.get(idle, 0))))
    return rooms


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
