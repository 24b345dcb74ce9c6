"""Football for tests: environments, played by whatever is installed as gfootball."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from torch import Tensor

from marl.envs.football.env import FootballEnv
from marl.envs.registry import make_env
from marl.settings.env import FootballEnvConfig
from prompts.cards import TaskCard, load_card

PASS_AND_SHOOT = load_card("football/pass-and-shoot")


def with_scenario(scenario: str, card: TaskCard = PASS_AND_SHOOT) -> TaskCard:
    """The card, of another scenario."""
    env = card.env.model_copy(update={"options": {"scenario": scenario}})
    return card.model_copy(update={"env": env})


def make(
    rows: int = 4, *, card: TaskCard = PASS_AND_SHOOT, seed: int = 0, **settings: Any
) -> FootballEnv:
    """An environment with the settings given."""
    env = make_env(card, rows, seed, config=FootballEnvConfig.model_validate(settings))
    assert isinstance(env, FootballEnv)
    return env


def drawn(env: FootballEnv, seed: int = 1) -> Tensor:
    """Random actions for a whole episode: ``[T, B, n]``."""
    generator = torch.Generator().manual_seed(seed)
    shape = (env.horizon, env.num_envs, env.n_agents)
    return torch.randint(env.n_actions, shape, generator=generator)


def idle(env: FootballEnv) -> Tensor:
    """Nothing done for a whole episode: ``[T, B, n]``."""
    return torch.zeros(env.horizon, env.num_envs, env.n_agents, dtype=torch.int64)


def played(env: FootballEnv, actions: Tensor) -> dict[str, Tensor]:
    """An episode of every instance: states ``[T+1, B, s]``, rewards and ends ``[T, B]``."""
    states, rewards, ends = [env.reset().state], [], []
    for joint in actions:
        step = env.step(joint)
        states.append(step.state)
        rewards.append(step.reward)
        ends.append(step.terminated)
        if env.done.all():
            break
    return {"state": torch.stack(states), "reward": torch.stack(rewards), "end": torch.stack(ends)}


def workers() -> list[psutil.Process]:
    """The processes of all environments, by age; a sandbox's beside them does not count."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # of one that has just ended
            if any("marl.envs.workers.serve" in word for word in child.cmdline()):
                found.append(child)
    return found


def no_worker_stays() -> Iterator[None]:
    """A fixture: after a test there are no processes left."""
    yield
    deadline = time.monotonic() + 5
    while workers() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not workers()
