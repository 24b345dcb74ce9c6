"""One PettingZoo environment, made to fit the arrays of a batch. Knows no torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from marl.envs.workers.metrics import EpisodeMetrics, MetricRule
from marl.envs.workers.spaces import Actions, Observations, UnfitError, finite, number

StateSource = Literal["own", "flat", "plain"]
"""The environment's ``state()``, or all observations one after the other: as the agents' networks
get them, or with what is discrete as numbers."""


@dataclass(frozen=True)
class Facts:
    """What an environment turned out to be."""

    agents: tuple[str, ...]
    n_actions: tuple[int, ...]
    obs_sizes: tuple[int, ...]
    plain_sizes: tuple[int, ...]
    """Of the observations with what is discrete as numbers, not one-hot."""
    own_state: int | None
    """Numbers in what its ``state()`` returns; None where it has none."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Facts:
        """From plain data, as JSON has it."""
        lists = ("agents", "n_actions", "obs_sizes", "plain_sizes")
        return cls(**{name: tuple(data[name]) for name in lists}, own_state=data["own_state"])


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


def instances_of(factory: str) -> Callable[[], Instance]:
    """What makes instances of the environments that a factory makes (see `load_factory`)."""
    make = load_factory(factory)
    return lambda: Instance(make)


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
        self._actions = [Actions(a, env.action_space(a)) for a in self._agents]
        self._observations = [Observations(a, env.observation_space(a)) for a in self._agents]
        # Only then is there a state; every episode begins with a reset of its own.
        env.reset(seed=0)
        self.facts = Facts(
            tuple(map(str, self._agents)),
            tuple(actions.count for actions in self._actions),
            tuple(observations.size for observations in self._observations),
            tuple(observations.plain_size for observations in self._observations),
            self._state_size(),
        )

    def _state_size(self) -> int | None:
        try:
            return int(np.size(self._env.state()))
        except (AttributeError, NotImplementedError):
            return None

    def show_in(
        self,
        rows: Mapping[str, NDArray[Any]],
        *,
        state: StateSource,
        mean: bool,
        metrics: Sequence[MetricRule] = (),
    ) -> None:
        """Where to show from now on what can be seen.

        Args:
            rows: this instance's row of each array.
            state: what is shown as the state.
            mean: the team is paid the mean of the agents' rewards, not their sum.
            metrics: what of the infos to show, and how.
        """
        self._rows, self._state = rows, state
        self._share = 1 / len(self._agents) if mean else 1.0
        self.metrics = EpisodeMetrics(metrics, rows["metrics"])

    def reset(self) -> None:
        """Begin the episode of the seed in the row."""
        shown = self._env.reset(seed=int(self._rows["seeds"]))
        # Environments from before infos were returned show observations alone.
        observations, infos = shown if isinstance(shown, tuple) else (shown, {})
        self._rows["reward"][...] = 0
        self._rows["terminated"][...] = self._rows["cut"][...] = False
        self.metrics.begin()
        self._show(observations, infos, set(self._env.agents), over=False)

    def step(self) -> None:
        """Play the actions in the row."""
        rows = self._rows
        alive = set(self._env.agents)
        actions = {
            agent: actions.number(int(action))
            for agent, actions, action in zip(
                self._agents, self._actions, rows["actions"].tolist(), strict=True
            )
            if agent in alive
        }
        outcome = self._env.step(actions)
        if len(outcome) != 5:
            raise ValueError(
                f"step returns {len(outcome)} values, and should return observations, rewards, "
                "terminations, truncations and infos"
            )
        observations, rewards, terminations, truncations, infos = outcome
        left = {
            agent
            for agent in self._env.agents
            if not terminations.get(agent) and not truncations.get(agent)
        }
        cut = any(truncations.get(agent) and not terminations.get(agent) for agent in alive)
        paid = {agent: number(f"reward of {agent}", reward) for agent, reward in rewards.items()}
        rows["reward"][...] = self._share * sum(paid.values())
        rows["rewards"][:] = [paid.get(agent, 0.0) for agent in self._agents]
        rows["terminated"][...] = not left and not cut
        rows["cut"][...] = not left and cut
        self.metrics.record(infos)
        self._show(observations, infos, left or alive, over=not left)

    def _show(
        self,
        observations: Mapping[Any, Any],
        infos: Mapping[Any, Any],
        alive: set[Any],
        *,
        over: bool,
    ) -> None:
        """Fill the row; at the end of an episode those count as alive who played its last step."""
        rows, everything = self._rows, []
        for at, agent in enumerate(self._agents):
            actions, shown = self._actions[at], self._observations[at]
            flat, plain, mask = np.zeros(shown.size), np.zeros(shown.plain_size), None
            if agent in alive and agent in observations:
                seen = observations[agent]
                flat, mask = shown.flat(seen), shown.mask(seen)
                plain = shown.plain(seen) if self._state == "plain" else plain
            rows["obs"][at, : shown.size] = flat
            everything.append(plain if self._state == "plain" else flat)
            rows["avail"][at] = False
            if agent in alive:
                masks = [mask, (infos.get(agent) or {}).get("action_mask")]
                rows["avail"][at, : actions.count] = actions.available(masks, over)
            else:
                rows["avail"][at, 0] = True
        if self._state == "own":
            state = np.asarray(self._env.state(), dtype=np.float64).ravel()
        else:
            state = np.concatenate(everything)
        rows["state"][:] = finite("the state", state, rows["state"].size)

    def close(self) -> None:
        """Let the environment release what it holds."""
        if hasattr(self._env, "close"):
            self._env.close()
