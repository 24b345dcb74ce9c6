"""PettingZoo environments for the adapter's tests. The workers import this file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

FILE = Path(__file__)
AGENTS = ("wolf", "fox", "owl")
COUNTS = (4, 4, 2)
SIZES = (2, 3, 3)


class Toy(ParallelEnv):
    """Three agents of different sizes; each lives a random number of steps (2 to 7).

    An observation is (steps left, last action, a random number) cut to the agent's size. The wolf
    must not repeat its last action. The owl's time is up by truncation, the others' by termination.
    An agent earns its action plus a tenth of a random number.
    """

    def __init__(self) -> None:
        self.metadata = {"name": "toy"}
        self.possible_agents = list(AGENTS)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(COUNTS[AGENTS.index(agent)])

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, (SIZES[AGENTS.index(agent)],), np.float32)

    def _seen(self) -> dict[str, NDArray[np.float32]]:
        return {
            agent: np.array(
                [self.left[agent], self.last[agent], self.rng.random()], dtype=np.float32
            )[: SIZES[AGENTS.index(agent)]]
            for agent in self.agents
        }

    def _infos(self) -> dict[str, dict[str, Any]]:
        infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        if "wolf" in infos:
            mask = np.ones(4, dtype=np.int8)
            mask[int(self.last["wolf"])] = 0
            infos["wolf"]["action_mask"] = mask
        return infos

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.rng = np.random.default_rng(seed)
        self.agents = list(AGENTS)
        self.left = {agent: int(self.rng.integers(2, 8)) for agent in AGENTS}
        self.last = dict.fromkeys(AGENTS, 0)
        return self._seen(), self._infos()

    def step(self, actions: dict[str, int]) -> Any:
        assert set(actions) == set(self.agents)
        rewards = {a: actions[a] + 0.1 * self.rng.random() for a in self.agents}
        for agent, action in actions.items():
            assert self.action_space(agent).contains(action)
            self.last[agent] = action
            self.left[agent] -= 1
        seen, infos = self._seen(), self._infos()
        over = {agent: self.left[agent] <= 0 for agent in self.agents}
        terminated = {agent: over[agent] and agent != "owl" for agent in self.agents}
        truncated = {agent: over[agent] and agent == "owl" for agent in self.agents}
        self.agents = [agent for agent in self.agents if not over[agent]]
        return seen, rewards, terminated, truncated, infos


class WithState(Toy):
    """Shows a state of its own: what each agent has left, 0 for the dead."""

    def state(self) -> NDArray[np.float32]:
        return np.array([self.left[agent] for agent in AGENTS], dtype=np.float32)


class Failing(Toy):
    """Something happens in the second step of every episode."""

    def happen(self) -> None:
        raise RuntimeError("the den\ncollapsed")

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return super().reset(seed, options)

    def step(self, actions: dict[str, int]) -> Any:
        self.steps += 1
        if self.steps == 2:
            self.happen()
        return super().step(actions)


class Dying(Failing):
    def happen(self) -> None:
        os._exit(3)


class Hanging(Failing):
    def happen(self) -> None:
        time.sleep(3600)


class Continuous(Toy):
    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 1, (2,))


def broken() -> Any:
    raise OSError("no licence")


def turn_based() -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.env()


def spread() -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=3, max_cycles=25, local_ratio=0.5)
