"""Batches of the toys of `marl_pettingzoo_toys`, and how they are played."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from marl_pettingzoo_toys import FILE
from torch import Tensor

from marl.envs.base import BatchedEnv
from marl.envs.registry import make_env
from marl.settings.env import PettingZooEnvConfig
from prompts.cards import TaskCard


def card(state_dim: int = 8, horizon: int = 10, **options: Any) -> TaskCard:
    """A card of the toys; a state of 8 numbers is all observations, one of 3 is the toy's own."""
    return TaskCard.model_validate(
        {
            "name": "toy",
            "title": "Toy",
            "prose": "A toy.",
            "n_agents": 3,
            "n_actions": 4,
            "action_names": ["a", "b", "c", "d"],
            "horizon": horizon,
            "reward": {"low": 0, "high": 20, "meaning": "pay"},
            "state": [
                {
                    "name": "seen",
                    "shape": [state_dim],
                    "meaning": "numbers",
                    "kind": "real",
                    "low": 0,
                    "high": 9,
                }
            ],
            "env": {"kind": "pettingzoo", "options": options},
        }
    )


def make(
    factory: str,
    rows: int = 5,
    workers: int = 2,
    *,
    task: TaskCard | None = None,
    timeout_s: float = 30,
    **settings: Any,
) -> BatchedEnv:
    config = PettingZooEnvConfig.model_validate(
        {
            "factory": factory if ":" in factory else f"{FILE}:{factory}",
            "workers": workers,
            "worker_timeout_s": timeout_s,
            **settings,
        }
    )
    return make_env(task or card(), rows, 7, dtype=torch.float64, config=config)


def roll(env: BatchedEnv, episodes: int, rows: int | None = None) -> list[Tensor]:
    """Everything that the first ``rows`` instances show over some episodes."""
    seen = []
    for _ in range(episodes):
        now = env.reset()
        seen += [x[:rows] for x in now]
        generator = torch.Generator().manual_seed(3)
        for _ in range(7):  # no toy lives longer
            # Drawn for 20 instances, so that an instance's actions do not depend on their number.
            luck = torch.rand(20, 3, 4, generator=generator)[: env.num_envs]
            step = env.step(luck.masked_fill(~now.avail, -1).argmax(-1))
            seen += [x[:rows] for x in step]
            now = type(now)(*step[3:])
    return seen


def no_worker_stays() -> Iterator[None]:
    """A fixture: after a test there are no processes left."""
    yield
    deadline = time.monotonic() + 5
    while psutil.Process().children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [child.cmdline() for child in psutil.Process().children()]
