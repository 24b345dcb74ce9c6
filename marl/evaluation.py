"""Greedy evaluation episodes, independent of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.agents import Agent, Player
from marl.envs.base import BatchedEnv
from marl.envs.kinds import is_engine
from marl.envs.registry import make_env
from marl.errors import TrainingError
from marl.events import Evaluated
from marl.policies import EpsilonGreedy, Greedy, Policy
from marl.rollout import play
from marl.settings.env import EnvConfig
from marl.settings.evaluation import EvaluationConfig
from marl.streams import Streams, derive_seed
from prompts.cards import TaskCard

_BLOCK = 8  # rows of a product, see `in_blocks`


class Evaluation(NamedTuple):
    """What came of an evaluation's episodes."""

    returns: tuple[float, ...]
    """Undiscounted team return of each."""
    metrics: dict[str, tuple[float, ...]]
    """Each of the card's metrics by name, with its value in each episode."""
    steps: int
    """Environment steps of them all."""


class Evaluator:
    """Plays the evaluations of one training, in environments that are made once.

    Engines are few, as many as the training has, and play the episodes in waves; rows of tensors
    play all at once. Evaluation number ``index`` follows from (seed, index) and the agents alone,
    whatever was played before and however large a wave is, and leaves no trace in the training.

    Args:
        card: the task.
        config: how many episodes, and how they are played.
        env_config: as in the training.
        seed: of the training.
        device, dtype: of the environments.
    """

    def __init__(
        self,
        card: TaskCard,
        config: EvaluationConfig,
        env_config: EnvConfig,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._card, self._config, self._env_config = card, config, env_config
        self._seed, self._device, self._dtype = seed, device, dtype
        self._in_waves = is_engine(card)
        self._env: BatchedEnv | None = None

    def evaluate(self, agent: Agent, index: int, *, last: bool = False) -> Evaluation:
        """Play evaluation number ``index``; the training's last may have episodes of its own.

        Raises:
            SettingsError: the environments cannot be made.
            TrainingError: one of them failed, or every episode was lost.
        """
        episodes = self._config.last_episodes(self._card) if last else self._config.episodes
        env, steps = self.environment(episodes), 0
        rewards, values = [], dict[str, list[float]]()
        for first in range(0, episodes, env.num_envs):
            count = min(env.num_envs, episodes - first)
            reward, played = self._wave(env, agent, index, first, count)
            kept, steps = ~env.lost[:count], steps + played
            rewards.append(reward[kept])
            for name, value in env.metrics().items():
                values.setdefault(name, []).extend(value[:count][kept].tolist())
        returns = torch.cat(rewards).sum(1)
        if not len(returns):
            raise TrainingError(f"every episode of evaluation {index} was lost")
        metrics = {name: tuple(own) for name, own in values.items()}
        return Evaluation(tuple(returns.tolist()), metrics, steps)

    def environment(self, episodes: int) -> BatchedEnv:
        """What so many episodes are played in, made where it is not there yet.

        Raises:
            SettingsError: it cannot be made.
        """
        rows = min(episodes, self._env_config.num_envs) if self._in_waves else episodes
        if self._env is not None and self._env.num_envs != rows:
            self.close()
        if self._env is None:
            self._env = self._made(rows)
        return self._env

    def news(self) -> list[str]:
        """That of the environments."""
        return [] if self._env is None else self._env.news()

    def close(self) -> None:
        """Release the environments; another evaluation makes them anew."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _made(self, rows: int) -> BatchedEnv:
        seed = derive_seed(self._seed, "evaluation")
        return make_env(self._card, rows, seed, self._device, self._dtype, self._env_config)

    def _wave(
        self, env: BatchedEnv, agent: Agent, index: int, first: int, count: int
    ) -> tuple[Tensor, int]:
        """Rewards ``[count, T]`` of the episodes from number ``first`` on, and their steps."""
        own = derive_seed(self._seed, "evaluation", index)
        epsilon, batch = self._config.epsilon, env.num_envs
        player = in_blocks(agent, batch, first) if self._in_waves else agent.player(batch)
        policy: Policy = Greedy(player)
        if epsilon > 0:
            rng = Streams(derive_seed(own, "exploration"), batch, self._device, first=first)
            drawn = rng.uniform(env.horizon, env.n_agents, 2, dtype=env.dtype)
            policy = EpsilonGreedy(player, epsilon, drawn, env.n_actions)
        env.reseed(own, first)
        mask = torch.arange(batch, device=self._device) < count
        turns = [(turn.reward, turn.active) for turn in play(env, policy, mask)]
        reward, active = (torch.stack(values, 1) for values in zip(*turns, strict=True))
        return F.pad(reward[:count], (0, env.horizon - reward.shape[1])), int(active.sum())


def in_blocks(agent: Agent, rows: int, first: int) -> Player:
    """Plays rows that are those from number ``first`` on of any larger batch.

    Rounding in a product of matrices depends on how many rows there are and on which of them one
    is, and may tip an action. So the rows are played eight at a time, each at the place in its
    eight that follows from its number.
    """
    before = first % _BLOCK
    after = -(before + rows) % _BLOCK
    players = [agent.player(_BLOCK) for _ in range((before + rows + after) // _BLOCK)]

    def blocks(values: Tensor) -> tuple[Tensor, ...]:
        ends = (0, 0) * (values.dim() - 1)
        return F.pad(values, (*ends, before, after)).split(_BLOCK)

    def play_on(obs: Tensor, last_actions: Tensor) -> Tensor:
        pairs = zip(players, blocks(obs), blocks(last_actions), strict=True)
        return torch.cat([player(seen, last) for player, seen, last in pairs])[before:][:rows]

    return play_on


def best_of(evaluations: Sequence[Evaluated]) -> Evaluated:
    """The evaluation with the highest mean return, the later of equals.

    That of step 0 only where there is no other: agents that have learned nothing can be lucky.
    """
    return max(evaluations, key=lambda done: (done.env_steps > 0, done.mean, done.env_steps))


def kept_metrics(evaluations: Sequence[Evaluated]) -> dict[str, Tensor]:
    """The metrics of evaluations, for a checkpoint: ``[evaluations, episodes]``, NaN where none.

    Evaluations of fewer episodes than the longest are filled up with NaN.
    """
    names = sorted({name for done in evaluations for name in done.metrics})
    most = max((len(done.returns) for done in evaluations), default=0)

    def row(values: Sequence[float]) -> list[float]:
        return [*values, *[math.nan] * (most - len(values))]

    return {
        name: torch.tensor(
            [row(done.metrics.get(name, ())) for done in evaluations], dtype=torch.float64
        )
        for name in names
    }


def with_metrics(evaluations: Sequence[Evaluated], kept: Mapping[str, Tensor]) -> list[Evaluated]:
    """The inverse of `kept_metrics`, for evaluations without metrics.

    Raises:
        ValueError: the tensors are of another number of evaluations.
    """
    rows = {name: values.tolist() for name, values in kept.items()}
    if any(len(found) != len(evaluations) for found in rows.values()):
        raise ValueError(f"metrics of {len(evaluations)} evaluations")
    return [
        replace(
            done,
            metrics={
                k: tuple(rows[k][at][: len(done.returns)])
                for k in rows
                if not math.isnan(rows[k][at][0])
            },
        )
        for at, done in enumerate(evaluations)
    ]
