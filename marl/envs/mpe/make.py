"""Make the particle environment that a card's options name."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from marl.envs.config import EnvConfig
from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.spread import Spread
from marl.errors import SettingsError, near_names
from prompts.cards import TaskCard

_OPTIONS: Mapping[str, tuple[str, ...]] = {"spread": ("n", "local_ratio")}
"""By scenario, the options that a card's ``env.options`` may have besides ``scenario``."""


def _options(card: TaskCard) -> tuple[str, dict[str, object]]:
    """The scenario and the other options, which are all known."""
    options = dict(card.env.options)
    scenario = str(options.pop("scenario", "missing"))
    if scenario not in _OPTIONS:
        hint = near_names(scenario, _OPTIONS)
        raise SettingsError(f"task '{card.name}': env.options.scenario is '{scenario}': {hint}")
    for key in options:
        if key not in _OPTIONS[scenario]:
            hint = near_names(key, ["scenario", *_OPTIONS[scenario]])
            raise SettingsError(f"task '{card.name}': unknown option '{key}' of {scenario}: {hint}")
    return scenario, options


def make_particles(
    card: TaskCard,
    num_envs: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    config: EnvConfig,
) -> ParticleEnv:
    """The environment of a card whose ``env.kind`` is ``mpe``.

    Raises:
        SettingsError: the scenario or an option is unknown, or does not fit the card.
    """
    _, options = _options(card)
    n, ratio = options.get("n", card.n_agents), options.get("local_ratio", 0.5)
    if not isinstance(n, int) or n < 2:
        raise SettingsError(f"task '{card.name}': env.options.n must be 2 agents or more, not {n}")
    if not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise SettingsError(
            f"task '{card.name}': env.options.local_ratio must be from 0 to 1, not {ratio}"
        )
    return Spread(card, num_envs, seed, device, dtype, config, n=n, local_ratio=float(ratio))
