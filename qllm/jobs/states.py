"""Real states of a task, from an episode of random play."""

from __future__ import annotations

import torch

from marl.envs.kinds import plays
from marl.envs.registry import make_env
from prompts.cards import TaskCard
from prompts.render import SampleRow
from qllm.config.tree import RunConfig

_SEED = 20_000_003
"""Of the episodes that the coder is shown and the sandbox tries; far from the seeds of trainings
and pilots."""


def sample_rows(card: TaskCard, config: RunConfig, most: int) -> list[SampleRow]:
    """The first states of an episode and the rewards after them; none where nothing plays it."""
    needs_factory = card.env.kind == "pettingzoo" and config.env.factory is None
    if not plays(card) or needs_factory:
        return []
    env = make_env(card, 1, _SEED, config=config.env)
    generator = torch.Generator().manual_seed(_SEED)
    start = env.reset()
    state, avail = start.state, start.avail
    rows = []
    for _ in range(min(most, card.horizon)):
        draws = torch.rand(avail.shape, generator=generator).masked_fill(~avail, -1.0)
        step = env.step(draws.argmax(-1))
        rows.append(SampleRow(tuple(state[0].tolist()), float(step.reward[0])))
        state, avail = step.state, step.avail
    env.close()
    return rows


def real_states(card: TaskCard, config: RunConfig, most: int = 64) -> list[tuple[float, ...]]:
    """States for the property suite to try besides those that it draws from the card."""
    return [row.state for row in sample_rows(card, config, most)]
