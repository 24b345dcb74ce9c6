"""What is not installed here of what plays a task. Importing this loads no torch."""

from __future__ import annotations

from marl.envs.football.install import NotInstalledError, football_python
from marl.settings.env import EnvConfig, FootballEnvConfig
from prompts.cards import TaskCard


def missing_engine(card: TaskCard, config: EnvConfig | None = None) -> str | None:
    """What is not installed here of what plays a task, in words; None if nothing is missing.

    Args:
        config: settings of its environments.
    """
    if card.env.kind != "football":
        return None
    try:
        football_python(config.python if isinstance(config, FootballEnvConfig) else None)
    except NotInstalledError as error:
        return str(error)
    return None
