"""States and rewards of a task from random play, for prompts, the property suite and the scale."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import Any

import torch

from marl.envs.registry import make_env
from marl.policies import Uniform
from marl.reward_scale import measured_scale
from marl.rollout import play
from marl.settings.env import EnvConfig, env_class
from prompts.cards import TaskCard
from prompts.render import SampleRow

_SEED = 20_000_003
"""Of the episode that the coder is shown and the sandbox tries; far from the seeds of trainings and
pilots."""
STATES = 64
"""States for the property suite."""


def sample_rows(card: TaskCard, config: EnvConfig, most: int) -> list[SampleRow]:
    """The first states of a random episode, with the rewards after them.

    Raises:
        SettingsError: the environment cannot be made.
        TrainingError: it failed.
    """
    policy = Uniform(torch.Generator().manual_seed(_SEED))
    with closing(make_env(card, 1, _SEED, config=config)) as env:
        return [
            SampleRow(tuple(turn.before.state[0].tolist()), float(turn.reward[0]))
            for turn in islice(play(env, policy), most)
        ]


def scale_and_states(argument: dict[str, Any]) -> dict[str, Any]:
    """What a check takes from playing its task, as an errand of the sandbox's warm process.

    Args:
        argument: ``card`` and ``env``, settings of the environment, as JSON.

    Returns:
        The rewards' ``scale``, measured where the card has none, and real ``states``.
    """
    card = TaskCard.model_validate(argument["card"])
    kind = argument["env"]["kind"]
    env = (env_class(kind) if kind else EnvConfig).model_validate(argument["env"])
    scale = card.reward.scale
    if scale is None:
        scale = measured_scale(card, env)
        card = card.in_unit(scale)
    return {"scale": scale, "states": [row.state for row in sample_rows(card, env, STATES)]}
