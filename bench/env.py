"""Speed of the environments alone: random actions, one process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from marl.device import resolve_device
from marl.envs.base import BatchedEnv
from marl.envs.registry import make_env
from marl.settings.env import EnvConfig
from marl.streams import Streams
from prompts.cards import TaskCard


def _run(env: BatchedEnv, actions: torch.Tensor, seconds: float) -> float:
    """Environment steps per second of whole episodes, resets included.

    An instance whose episode has ended early waits for the others: the time is measured, and its
    frozen steps are not counted.
    """
    # Counted on the device, by one operation a step, and read once: counting costs next to nothing.
    frozen = torch.zeros(env.num_envs, dtype=torch.int64, device=env.device)
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        env.reset()
        for t in range(env.horizon):
            frozen += env.done
            env.step(actions[:, t])
        steps += env.num_envs * env.horizon
    if env.device.type == "cuda":
        torch.cuda.synchronize(env.device)
    spent = time.perf_counter() - begin
    return (steps - int(frozen.sum())) / spent


def bench_env(
    card: TaskCard,
    *,
    num_envs: Sequence[int] = (8, 128, 1024),
    seconds: float = 1.0,
    env: EnvConfig | None = None,
    device: str = "cpu",
    threads: int = 1,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Steps per second of a task's environment under uniformly random actions.

    The actions are drawn beforehand: it is the environment that is measured, and they must all be
    available in the task.

    Args:
        card: the task.
        num_envs: batch sizes, one row each.
        seconds: how long each is measured, after a warm-up of a tenth of that.
        env: settings of the environment.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads.
        seed: of actions and environments.

    Returns:
        Rows with ``task``, ``num_envs``, ``env_steps_per_s`` and the settings used.
    """
    where, before = resolve_device(device), torch.get_num_threads()
    torch.set_num_threads(threads)
    rows = []
    try:
        for count in num_envs:
            batch = make_env(card, count, seed, where, config=env)
            draws = Streams(seed, count, where).uniform(card.horizon, card.n_agents)
            actions = (draws * card.n_actions).long()
            _run(batch, actions, seconds / 10)
            rows.append(
                {
                    "task": card.name,
                    "num_envs": count,
                    "env_steps_per_s": _run(batch, actions, seconds),
                    "device": str(where),
                    "dtype": "float32",
                    "threads": threads,
                    "seconds": seconds,
                }
            )
            batch.close()
    finally:
        torch.set_num_threads(before)
    return rows
