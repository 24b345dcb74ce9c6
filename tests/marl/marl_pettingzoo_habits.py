"""PettingZoo environments with the habits that people's have. The workers import this file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

HABITS = Path(__file__)
NAMES = ("left", "right")
STEPS = 4


class Plain(ParallelEnv):
    """Two agents with three actions; at time t of four both see (t, seed); action 2 pays 1."""

    def __init__(self) -> None:
        self.metadata = {"name": "habits"}
        self.possible_agents = list(NAMES)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 100, (2,), np.float32)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(3)

    def seen(self, agent: str) -> Any:
        return np.array([self.t, self.lucky], dtype=np.float32)

    def info(self, agent: str) -> dict[str, Any]:
        return {}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.lucky = 0, int(np.random.default_rng(seed).integers(10))
        self.agents = list(NAMES)
        return {a: self.seen(a) for a in NAMES}, {a: self.info(a) for a in NAMES}

    def step(self, actions: dict[str, int]) -> Any:
        self.t += 1
        self.chosen = actions
        live, over = list(self.agents), self.t == STEPS
        if over:
            self.agents = []
        return (
            {a: self.seen(a) for a in live},
            {a: self.pay(actions[a]) for a in live},
            dict.fromkeys(live, over),
            dict.fromkeys(live, False),
            {a: self.info(a) for a in live},
        )

    def pay(self, action: int) -> Any:
        return float(action == 2)


class InDict(Plain):
    """The mask stands beside the observation, as in the classic games."""

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        inner = super().observation_space(agent)
        return spaces.Dict(observation=inner, action_mask=spaces.Box(0, 1, (3,), np.int8))

    def seen(self, agent: str) -> Any:
        mask = np.array([1, self.t % 2, 1], dtype=np.int8)
        return {"observation": super().seen(agent), "action_mask": mask}


class Mixed(Plain):
    """Everything that has a fixed size, nested."""

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Dict(
            cell=spaces.MultiDiscrete([6, 2]),
            phase=spaces.Discrete(5, start=1),
            switches=spaces.MultiBinary(2),
            where=spaces.Tuple((spaces.Box(0, 9, (1, 2)), spaces.Discrete(2))),
        )

    def seen(self, agent: str) -> Any:
        return {
            "cell": [self.t, 1],
            "phase": np.array([1 + self.t]),
            "switches": (1, 0),
            "where": ([[7.5, self.t]], self.t % 2),
        }


class OutOfSpace(Plain):
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(2)

    def seen(self, agent: str) -> Any:
        return self.t - 1  # an index that numpy would take from the end


class Lists(Plain):
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Sequence(spaces.Discrete(2))


class SeveralChoices(Plain):
    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.MultiDiscrete([2, 3])


class Switches(Plain):
    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.MultiBinary(3)


class Continuous(Plain):
    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-1, 1, (2,))


class NothingAtTheEnd(Plain):
    """After the last step the masks are empty."""

    def info(self, agent: str) -> dict[str, Any]:
        return {"action_mask": [self.t < STEPS] * 3}


class CutWithNothing(NothingAtTheEnd):
    def step(self, actions: dict[str, int]) -> Any:
        observations, rewards, ends, cuts, infos = super().step(actions)
        return observations, rewards, cuts, ends, infos


class TakingTurns(Plain):
    """Who waits has an empty mask; whoever does another than action 0 then is told off."""

    def info(self, agent: str) -> dict[str, Any]:
        return {"action_mask": [NAMES.index(agent) == self.t % 2] * 3}

    def step(self, actions: dict[str, int]) -> Any:
        assert actions[NAMES[1 - self.t % 2]] == 0
        return super().step(actions)


class ShortMask(Plain):
    def info(self, agent: str) -> dict[str, Any]:
        return {"action_mask": [1]}


class Arrays(Plain):
    def pay(self, action: int) -> Any:
        return np.array([[action == 2]])


class NoNumber(Plain):
    def pay(self, action: int) -> Any:
        return float("nan")


class Vectors(Plain):
    def pay(self, action: int) -> Any:
        return np.zeros(2)


class Blind(Plain):
    def seen(self, agent: str) -> Any:
        return np.array([self.t, np.inf])


class OldReset(Plain):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed)[0]


class OldStep(Plain):
    def step(self, actions: dict[str, int]) -> Any:
        observations, rewards, ends, _, infos = super().step(actions)
        return observations, rewards, ends, infos


class OneLeavesEarly(Plain):
    """The left agent is gone after two steps and sees, gets and does nothing more."""

    def step(self, actions: dict[str, int]) -> Any:
        assert set(actions) == set(self.agents)
        observations, rewards, ends, cuts, infos = super().step(actions)
        if self.t == 2:
            ends["left"] = True
            self.agents = ["right"]
        return observations, rewards, ends, cuts, infos


class OtherState(Plain):
    """Has a state of its own, of another size than all observations together."""

    def state(self) -> Any:
        return np.array([self.t, self.lucky, 1.0])


class Reporting(Plain):
    """Tells in its infos how it goes; ``won`` only at the end, and only if the seed is lucky."""

    def info(self, agent: str) -> dict[str, Any]:
        at = NAMES.index(agent)
        told: dict[str, Any] = {"goals": at + self.t, "fuel": np.array([10.0 - self.t])}
        return told | ({"won": True} if self.t == STEPS and self.lucky > 4 else {})

    def step(self, actions: dict[str, int]) -> Any:
        *rest, infos = super().step(actions)
        return *rest, {**infos, "crowd": 100 * self.t}


def counted() -> Plain:
    """A `Reporting`, which leaves a line where the test counts them."""
    with Path(os.environ["QLLM_TEST_COUNT"]).open("a") as file:
        file.write("made\n")
    return Reporting()
