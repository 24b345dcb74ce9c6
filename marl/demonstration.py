"""One episode to be shown: of a checkpoint's greedy agents, or the best of random play."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from marl.agents import Player
from marl.algorithms.mixer import Choice
from marl.batch import Batch
from marl.envs.kinds import is_engine
from marl.envs.registry import make_env
from marl.episodes import Episodes
from marl.errors import SettingsError, TrainingError
from marl.policies import Policy, Uniform, greedy_actions
from marl.rollout import collect
from marl.settings.env import EnvConfig
from marl.trained import Trained
from prompts.cards import TaskCard

_EPISODES, _SLOW_EPISODES = 512, 4
"""Of random play, and where an engine plays them one by one."""


@dataclass(frozen=True)
class Actors:
    """The agents that act in the episode."""

    name: str
    """In words."""
    env: EnvConfig
    trained: Trained | None = None
    """None: actions are drawn at random."""


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
    episode: Episodes
    """The same, with observations: one episode of T steps."""

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


def trained_actors(trained: Trained, card: TaskCard, name: str) -> Actors:
    """The greedy agents of a training.

    Args:
        card: of the task that they play.
        name: of the agents, in words; the steps behind them are added.
    """
    name = f"{name} after {trained.step:,} steps"
    return Actors(name, trained.env_config(card), trained)


def demonstrate(card: TaskCard, actors: Actors, seed: int) -> Demonstration:
    """Play the first episode of trained agents, or the best one of random play.

    Raises:
        SettingsError: the environment cannot be made with these settings, or the agents do not fit.
        TrainingError: the environment failed, or every episode was lost.
    """
    trained = actors.trained
    batch = _random_episodes(card) if trained is None else 1
    dtype = torch.float32 if trained is None else trained.dtype
    with closing(make_env(card, batch, seed, dtype=dtype, config=actors.env)) as env:
        policy: Policy = Uniform(torch.Generator().manual_seed(seed))
        if trained is not None:
            try:
                policy = _Valued(trained.agent(card, env).player(batch))
            except SettingsError as error:
                raise SettingsError(f"{actors.name}: {error}") from None
        episodes = collect(env, policy)
    if not episodes.count:
        raise TrainingError("every episode was lost")
    best = int(episodes.returns().argmax())
    steps = int(episodes.lengths()[best])
    chosen = torch.arange(episodes.count) == best
    episode = episodes.where(chosen).shortened(steps)
    return Demonstration(
        episode.state[0, :-1],
        episode.actions[0],
        episode.reward[0],
        episode.extras["q"][0] if trained is not None else None,
        episode,
    )


def mixing_weights(played: Demonstration, actors: Actors, card: TaskCard) -> Tensor | None:
    """d q_tot / d Q_i ``[T, n]`` of the actions taken, of the mixing network that was trained.

    None where there is none: random play, critics that do not factor, learners for themselves.

    Args:
        actors: who played; of an algorithm without a credit function.
        card: the task that they learned.

    Raises:
        SettingsError: the algorithm cannot be made anew.
    """
    trained = actors.trained
    if trained is None:
        return None
    with closing(make_env(card, 1, 0, dtype=trained.dtype, config=actors.env)) as env:
        algorithm = trained.algorithm(env)
    batch = Batch.of(played.episode)
    moments, mixing = algorithm.credit_moments(batch), algorithm.mixing(batch.state)
    if moments is None or mixing is None:
        return None
    mixer, state = mixing
    now, actions = batch.current, batch.actions
    qs, avail = moments.action_qs[now], moments.avail[now]
    chosen = qs.gather(-1, actions[..., None]).squeeze(-1).requires_grad_()
    best = qs.masked_fill(~avail, -float("inf")).amax(-1)
    choice = Choice(best, actions) if mixer.uses_choice else None
    (weights,) = torch.autograd.grad(mixer(chosen, state[now], choice).sum(), chosen)
    return weights


def _random_episodes(card: TaskCard) -> int:
    return _SLOW_EPISODES if is_engine(card) else _EPISODES


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
