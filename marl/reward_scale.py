"""The unit of Q: what rewards are divided by before anything is learned from them.

Rewards are divided, never shifted: a constant that is added to every reward changes the best policy
wherever an episode can end early. The scale is one number for a task, the same for every algorithm
and seed, and does not move while training.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing

import torch
from torch import Tensor

from marl.envs.kinds import is_engine
from marl.envs.registry import make_env
from marl.policies import EpsilonGreedy
from marl.rollout import Turn, play
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from marl.streams import Streams, derive_seed
from prompts.cards import TaskCard

_SEED = 20_000_033
"""Of the random play that a scale is measured in; far from the seeds of trainings and pilots."""
_STEPS, _SLOW_STEPS = 25_000, 1_000
"""Steps of that play, and where an engine makes them one by one."""


def fixed_scale(card: TaskCard, config: TrainConfig) -> TaskCard:
    """The card with its reward's scale: the setting, the card's own, or else what is measured.

    Raises:
        SettingsError: there is nothing but measuring, and the environment cannot be made.
        TrainingError: it failed while it was played.
    """
    if config.learner.reward_scale is not None:
        return card.in_unit(config.learner.reward_scale)
    if card.reward.scale is not None:
        return card
    return card.in_unit(measured_scale(card, config.env))


def measured_scale(card: TaskCard, config: EnvConfig) -> float:
    """The size of a reward in random play: the root mean square of the rewards that are not 0.

    Zeros are left out, since in a task that hardly ever pays they would make the scale so small
    that a single payment is worth hundreds. Where nothing was paid, it is the largest reward that
    the card allows. Two digits are kept, so that machines agree.

    Raises:
        SettingsError: the environment cannot be made.
        TrainingError: it failed.
    """
    engine = is_engine(card)
    batch = 1 if engine else max(1, _STEPS // card.horizon)
    squares, paid = 0.0, 0
    with closing(make_env(card, batch, _SEED, config=config)) as env:
        rng = Streams(derive_seed(_SEED, "exploration"), batch, env.device)

        def nobody(obs: Tensor, last_actions: Tensor) -> Tensor:
            return torch.zeros(batch, card.n_agents, card.n_actions)

        def episode() -> Iterator[Turn]:
            drawn = rng.uniform(card.horizon, card.n_agents, 2, dtype=env.dtype)
            return play(env, EpsilonGreedy(nobody, 1.0, drawn, card.n_actions))

        episodes = (episode() for _ in itertools.count())
        turns = itertools.chain.from_iterable(episodes)
        for turn in itertools.islice(turns, _SLOW_STEPS if engine else card.horizon):
            reward = turn.reward.double()
            squares += float(reward.square().sum())
            paid += int((reward != 0).sum())
    size = (squares / paid) ** 0.5 if paid else max(abs(card.reward.low), abs(card.reward.high))
    return float(f"{size:.2g}") or 1.0
