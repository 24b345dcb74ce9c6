"""One PettingZoo environment, made to fit the arrays of a batch. Knows no torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class UnfitError(ValueError):
    """What the factory makes cannot be played; the message says what is wrong with it."""


@dataclass(frozen=True)
class Facts:
    """What an environment turned out to be."""

    agents: tuple[str, ...]
    n_actions: tuple[int, ...]
    obs_sizes: tuple[int, ...]
    own_state: int | None
    """Numbers in what its ``state()`` returns; None where it has none."""


def load_factory(name: str) -> Callable[[], Any]:
    """The function that makes an environment.

    Args:
        name: ``package.module:function``, or ``path/to/file.py:function``.

    Raises:
        UnfitError: it cannot be found.
    """
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute.isidentifier():
        raise UnfitError(f"'{name}' is neither module:function nor file.py:function")
    if where.endswith(".py"):
        path = Path(where).expanduser()
        if not path.is_file():
            raise UnfitError(f"there is no file '{path}'")
        # Under its own name, so that classes in it can be found again; its folder is searched for
        # what it imports, as if it had been started as a script.
        sys.path.insert(0, str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None  # a file that ends in .py has both
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(where)
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UnfitError(f"'{where}' has no function '{attribute}'")
    return factory


class Instance:
    """An environment of the parallel API and the rows of the batch that show it.

    An agent that is no longer in ``agents`` is dead: it observes zeros, can only take action 0, and
    its actions are not passed on. The episode ends when no agent is left; if one of the last left
    by truncation alone, the episode was cut, else it terminated.

    Args:
        factory: makes the environment.

    Raises:
        UnfitError: it is not of the parallel API, or its spaces are not supported.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        from gymnasium import spaces  # whoever has a PettingZoo environment has it

        self._env = env = factory()
        if hasattr(env, "agent_iter"):
            raise UnfitError(
                "the factory makes a turn-based (AEC) environment: convert it with "
                "pettingzoo.utils.aec_to_parallel"
            )
        for name in ("possible_agents", "reset", "step", "action_space", "observation_space"):
            if not hasattr(env, name):
                raise UnfitError(
                    f"the factory makes a {type(env).__name__}, which is no PettingZoo parallel "
                    f"environment: it has no '{name}'"
                )
        self._agents = list(env.possible_agents)
        actions = [env.action_space(agent) for agent in self._agents]
        seen = [env.observation_space(agent) for agent in self._agents]
        for agent, action, obs in zip(self._agents, actions, seen, strict=True):
            if not isinstance(action, spaces.Discrete):
                raise UnfitError(f"action space of {agent}: {action}, and only Discrete is played")
            if not isinstance(obs, spaces.Box):
                raise UnfitError(f"observation space of {agent}: {obs}, and only Box is shown")
        self._first = [int(space.start) for space in actions]
        self._counts = [int(space.n) for space in actions]
        self._sizes = [int(np.prod(space.shape)) for space in seen]
        # Only then is there a state; every episode begins with a reset of its own.
        env.reset(seed=0)
        self.facts = Facts(
            tuple(map(str, self._agents)),
            tuple(self._counts),
            tuple(self._sizes),
            self._state_size(),
        )

    def _state_size(self) -> int | None:
        try:
            return int(np.size(self._env.state()))
        except (AttributeError, NotImplementedError):
            return None

    def show_in(self, rows: Mapping[str, NDArray[Any]], own_state: bool, mean: bool) -> None:
        """Where to show from now on what can be seen.

        Args:
            rows: this instance's row of each array.
            own_state: show the environment's ``state()``, not all observations in a row.
            mean: the team is paid the mean of the agents' rewards, not their sum.
        """
        self._rows, self._own_state = rows, own_state
        self._share = 1 / len(self._agents) if mean else 1.0

    def reset(self) -> None:
        """Begin the episode of the seed in the row."""
        observations, infos = self._env.reset(seed=int(self._rows["seeds"]))
        self._rows["reward"][...] = 0
        self._rows["terminated"][...] = self._rows["cut"][...] = False
        self._show(observations, infos, set(self._env.agents))

    def step(self) -> None:
        """Play the actions in the row."""
        rows = self._rows
        alive = set(self._env.agents)
        actions = {
            agent: first + int(action)
            for agent, first, action in zip(
                self._agents, self._first, rows["actions"].tolist(), strict=True
            )
            if agent in alive
        }
        observations, rewards, terminations, truncations, infos = self._env.step(actions)
        left = {
            agent
            for agent in self._env.agents
            if not terminations.get(agent) and not truncations.get(agent)
        }
        cut = any(truncations.get(agent) and not terminations.get(agent) for agent in alive)
        rows["reward"][...] = self._share * sum(float(reward) for reward in rewards.values())
        rows["terminated"][...] = not left and not cut
        rows["cut"][...] = not left and cut
        self._show(observations, infos, left or alive)

    def _show(
        self, observations: Mapping[Any, Any], infos: Mapping[Any, Any], alive: set[Any]
    ) -> None:
        """Fill the row; at the end of an episode those count as alive who played its last step."""
        rows, everything = self._rows, []
        for at, agent in enumerate(self._agents):
            size, count = self._sizes[at], self._counts[at]
            flat = np.zeros(size)
            if agent in alive and agent in observations:
                flat = np.asarray(observations[agent], dtype=np.float64).ravel()
                if flat.size != size:
                    raise ValueError(
                        f"observation of {agent} has {flat.size} numbers, its space {size}"
                    )
            rows["obs"][at, :size] = flat
            everything.append(flat)
            rows["avail"][at] = False
            if agent in alive:
                mask = (infos.get(agent) or {}).get("action_mask")
                rows["avail"][at, :count] = True if mask is None else np.asarray(mask, dtype=bool)
                if not rows["avail"][at].any():
                    raise ValueError(f"action_mask of {agent} allows no action")
            else:
                rows["avail"][at, 0] = True
        state = self._env.state() if self._own_state else np.concatenate(everything)
        rows["state"][:] = np.ravel(state)

    def close(self) -> None:
        """Let the environment release what it holds."""
        if hasattr(self._env, "close"):
            self._env.close()
