"""Real states of a task, from an episode of random play."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import torch

from marl.envs.base import Observation, Step
from marl.envs.registry import make_env
from marl.errors import TrainingError
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard
from prompts.render import SampleRow
from qllm.errors import WorkError

if TYPE_CHECKING:
    from qllm.config.tree import RunConfig

_SEED = 20_000_003
"""Of the episodes that the coder is shown and the sandbox tries; far from the seeds of trainings
and pilots."""
_MOST = 64
"""States for the property suite."""


def sample_rows(card: TaskCard, config: RunConfig, most: int) -> list[SampleRow]:
    """The first states of an episode and the rewards after them; none where nothing plays it.

    Raises:
        SettingsError: the environment cannot be made.
        WorkError: it failed.
    """
    from qllm.jobs.tasks import can_play

    return _played(card, config.env, most) if can_play(card, config) else []


def _played(card: TaskCard, config: EnvConfig, most: int) -> list[SampleRow]:
    generator = torch.Generator().manual_seed(_SEED)
    rows: list[SampleRow] = []
    with closing(make_env(card, 1, _SEED, config=config)) as env:
        try:
            now: Observation | Step = env.reset()
            while len(rows) < most and not env.done.all():
                draws = torch.rand(now.avail.shape, generator=generator)
                step = env.step(draws.masked_fill(~now.avail, -1.0).argmax(-1))
                rows.append(SampleRow(tuple(now.state[0].tolist()), float(step.reward[0])))
                now = step
        except TrainingError as error:
            raise WorkError(str(error)) from None
    return rows


def real_states(card: TaskCard, config: RunConfig) -> list[tuple[float, ...]]:
    """States for the property suite to try besides those that it draws from the card."""
    return [row.state for row in sample_rows(card, config, _MOST)]


def states_of(card: TaskCard, config: EnvConfig) -> list[tuple[float, ...]]:
    """`real_states` of a task that can be played."""
    return [row.state for row in _played(card, config, _MOST)]
