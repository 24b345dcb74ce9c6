"""Make the environment that plays a task."""

from __future__ import annotations

import torch

from marl.envs.base import BatchedEnv
from marl.envs.kinds import ENVIRONMENTS
from marl.errors import SettingsError, near_names
from marl.settings.env import EnvConfig
from prompts.cards import TaskCard


def make_env(
    card: TaskCard,
    num_envs: int,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    config: EnvConfig | None = None,
    *,
    individual: bool = False,
) -> BatchedEnv:
    """``num_envs`` instances of a task card's environment; ``config.num_envs`` is not read.

    Args:
        individual: it is to tell each agent's own reward.

    Raises:
        SettingsError: the card's ``env.kind`` is unknown or its plug-in does not load, its options
            do not fit, the settings are for another kind of task, or only the team is paid.
    """
    kind = card.env.kind
    if kind not in ENVIRONMENTS:
        hint = near_names(kind, ENVIRONMENTS)
        raise SettingsError(f"task '{card.name}': no environment of kind '{kind}': {hint}")
    config = (config or EnvConfig()).of(kind)
    env = ENVIRONMENTS[kind].make(card, num_envs, seed, torch.device(device), dtype, config)
    if individual and not env.individual:
        env.close()
        raise SettingsError(
            f"learner.rewards=individual: the environment of task '{card.name}' (kind {kind}) pays "
            "the team alone: set learner.rewards to team"
        )
    untold = {metric.name for metric in card.metrics} - set(env.metrics())
    if untold:
        env.close()
        raise SettingsError(
            f"task '{card.name}': environments of kind {kind} tell nothing but the reward: leave "
            f"metrics ({', '.join(sorted(untold))}) out of the card"
        )
    return env
