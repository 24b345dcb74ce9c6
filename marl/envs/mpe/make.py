"""Make the particle environment that a card's options name."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from marl.envs.mpe.adversary import Adversary
from marl.envs.mpe.checkpoint import read_opponent
from marl.envs.mpe.env import ParticleEnv
from marl.envs.mpe.opponents import Opponent, ScriptedAdversary, ScriptedPrey
from marl.envs.mpe.spread import Spread
from marl.envs.mpe.tag import Tag
from marl.errors import SettingsError, near_names
from marl.settings.env import MpeEnvConfig
from prompts.cards import TaskCard

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "spread": ("n", "local_ratio"),
    "tag": (),
    "adversary": (),
}
"""By scenario, the options that a card's ``env.options`` may have besides ``scenario``."""


def _options(card: TaskCard) -> tuple[str, dict[str, object]]:
    """The scenario and the other options, which are all known."""
    options = dict(card.env.options)
    if "scenario" not in options:
        known = ", ".join(sorted(_OPTIONS))
        raise SettingsError(f"task '{card.name}': env.options needs a scenario, one of {known}")
    scenario = str(options.pop("scenario"))
    if scenario not in _OPTIONS:
        hint = near_names(scenario, _OPTIONS)
        raise SettingsError(f"task '{card.name}': env.options.scenario is '{scenario}': {hint}")
    for key in options:
        if key not in _OPTIONS[scenario]:
            hint = near_names(key, ["scenario", *_OPTIONS[scenario]])
            raise SettingsError(f"task '{card.name}': unknown option '{key}' of {scenario}: {hint}")
    return scenario, options


def _opponent(
    config: MpeEnvConfig,
    scripted: type[ScriptedPrey] | type[ScriptedAdversary],
    entry: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Opponent:
    """The scripted opponent, or the file's: agent ``entry`` of the checkpoint."""
    if config.opponent is None:
        return scripted(device, dtype)
    return read_opponent(
        config.opponent,
        entry=entry,
        obs_dim=scripted.obs_dim,
        numbering=config.opponent_numbering,
        device=device,
    )


def make_particles(
    card: TaskCard,
    num_envs: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    config: MpeEnvConfig,
) -> ParticleEnv:
    """The environment of a card whose ``env.kind`` is ``mpe``.

    Raises:
        SettingsError: the scenario or an option is unknown, or does not fit the card; or the
            opponent's file cannot be used.
    """
    scenario, options = _options(card)
    common = (card, num_envs, seed, device, dtype, config)
    if scenario == "tag":
        prey = _opponent(config, ScriptedPrey, -1, device, dtype)
        return Tag(*common, opponent=prey)
    if scenario == "adversary":
        adversary = _opponent(config, ScriptedAdversary, 0, device, dtype)
        return Adversary(*common, opponent=adversary)
    if config.opponent is not None:
        raise SettingsError(
            f"task '{card.name}' has no opponent, so env.opponent has nothing to set: leave it out"
        )
    n, ratio = options.get("n", card.n_agents), options.get("local_ratio", 0.5)
    # Held against the card first: what follows takes memory with the square of n.
    if not isinstance(n, int) or n != card.n_agents or n < 2:
        raise SettingsError(
            f"task '{card.name}': env.options.n must be the card's n_agents, {card.n_agents}, and "
            f"at least 2, not {n!r}"
        )
    if not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
        raise SettingsError(
            f"task '{card.name}': env.options.local_ratio must be from 0 to 1, not {ratio!r}"
        )
    return Spread(*common, n=n, local_ratio=float(ratio))
