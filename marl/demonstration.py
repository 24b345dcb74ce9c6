"""One episode to be shown: of a checkpoint's greedy agents, or the best of random play."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marl.agents import Agent, Player, make_agent
from marl.algorithms.base import TaskSizes
from marl.envs.base import BatchedEnv
from marl.envs.kinds import is_engine
from marl.envs.registry import make_env
from marl.errors import SettingsError, TrainingError
from marl.policies import Policy, Uniform, greedy_actions
from marl.portable import trained_agents
from marl.rollout import collect
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from prompts.cards import TaskCard

_EPISODES, _SLOW_EPISODES = 512, 4
"""Of random play, and where an engine plays them one by one."""


@dataclass(frozen=True)
class Actors:
    """The agents that act in the episode."""

    name: str
    """In words."""
    env: EnvConfig
    parameters: dict[str, Tensor] | None = None
    """Of trained agents; None: actions are drawn at random."""
    config: Any = None
    """The agents' settings."""
    graph_hash: str | None = None
    """Of the credit function that they were trained with, if any."""


@dataclass(frozen=True)
class Demonstration:
    """One episode. T steps, n agents, s state columns."""

    states: Tensor
    """``[T, s]``, before each step"""
    actions: Tensor
    """int64 ``[T, n]``"""
    rewards: Tensor
    """``[T]``"""
    chosen_qs: Tensor | None
    """``[T, n]``: trained agents' values of their actions; None for random play."""

    def values(self, gamma: float, scale: float) -> Tensor:
        """Values ``[T, n]`` of the actions in the unit of Q.

        Where no agents were trained: equal shares of the discounted reward still to come, so that
        values have a plausible size.
        """
        if self.chosen_qs is not None:
            return self.chosen_qs
        come, total = torch.zeros_like(self.rewards), 0.0
        for t in reversed(range(len(self.rewards))):
            total = float(self.rewards[t]) / scale + gamma * total
            come[t] = total
        n = self.actions.shape[1]
        return (come / n)[:, None].expand(-1, n).clone()


def random_actors(card: TaskCard, env: EnvConfig) -> Actors:
    """Uniform among the available actions; of many such episodes the best is shown."""
    return Actors(f"the best of {_random_episodes(card)} episodes of random play", env)


def trained_actors(
    folder: Path, card: TaskCard, config: TrainConfig, seed: int, credit: str | None, name: str
) -> Actors:
    """The greedy agents of a training's newest checkpoint.

    Args:
        folder: of the training's run.
        card, config, seed: of the training.
        credit: graph hash of its credit function, if any.
        name: of the agents, in words; the checkpoint's step is added.

    Raises:
        CheckpointError: there is none, or it is another training's.
    """
    trained = trained_agents(folder, card, config, seed, credit)
    name = f"{name} after {trained.facts.env_steps:,} steps"
    return Actors(name, config.env, dict(trained.parameters), config.agent, credit)


def demonstrate(card: TaskCard, actors: Actors, seed: int) -> Demonstration:
    """Play the first episode of trained agents, or the best one of random play.

    Raises:
        SettingsError: the environment cannot be made with these settings, or the agents do not fit.
        TrainingError: the environment failed, or every episode was lost.
    """
    batch = _random_episodes(card) if actors.parameters is None else 1
    with closing(make_env(card, batch, seed, config=actors.env)) as env:
        agent = _agent(actors, card, env)
        policy: Policy = Uniform(torch.Generator().manual_seed(seed))
        if agent is not None:
            policy = _Valued(agent.player(batch))
        episodes = collect(env, policy)
    if not episodes.count:
        raise TrainingError("every episode was lost")
    best = int(episodes.returns().argmax())
    steps = int(episodes.lengths()[best])
    return Demonstration(
        episodes.state[best, :steps].clone(),
        episodes.actions[best, :steps].clone(),
        episodes.reward[best, :steps].clone(),
        episodes.extras["q"][best, :steps].clone() if agent is not None else None,
    )


def _random_episodes(card: TaskCard) -> int:
    return _SLOW_EPISODES if is_engine(card) else _EPISODES


def _agent(actors: Actors, card: TaskCard, env: BatchedEnv) -> Agent | None:
    if actors.parameters is None:
        return None
    with torch.random.fork_rng(devices=[]):
        sizes = TaskSizes.of(card, env.obs_dim, env.agent_types)
        agent = make_agent(actors.config, env.obs_dim, env.n_agents, env.n_actions, sizes.types)
    try:
        agent.load_state_dict(actors.parameters)
    except RuntimeError:
        raise SettingsError(
            f"{actors.name}: they do not fit the task's observations and actions"
        ) from None
    return agent


class _Valued:
    """Greedy actions that keep their values."""

    def __init__(self, player: Player) -> None:
        self._player = player

    def __call__(
        self, t: int, obs: Tensor, state: Tensor, avail: Tensor, last_actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        scores = self._player(obs, last_actions)
        actions = greedy_actions(scores, avail)
        return actions, {"q": scores.gather(-1, actions[..., None]).squeeze(-1)}
