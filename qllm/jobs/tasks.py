"""The task of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marl.envs.kinds import ENVIRONMENTS, plays
from prompts.cards import CardError, TaskCard, load_card
from qllm.config.tree import RunConfig
from qllm.errors import UsageError


def task_card(config: RunConfig) -> TaskCard:
    """The card that the configuration names.

    Raises:
        UsageError: there is none, or it breaks a rule.
    """
    try:
        return load_card(config.task)
    except CardError as error:
        raise UsageError(str(error)) from None


def playable_card(config: RunConfig) -> TaskCard:
    """The card that the configuration names, for a job that plays episodes.

    Raises:
        UsageError: as `task_card`, or nothing plays it.
    """
    card = task_card(config)
    if not plays(card):
        raise UsageError(
            f"task '{card.name}' cannot be played: it needs an environment of kind "
            f"'{card.env.kind}', and there is {', '.join(sorted(ENVIRONMENTS))}; until then it "
            "serves `qllm check` only"
        )
    return card


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Files named so that the run can be resumed, and its settings fed back, from any folder."""
    changed: dict[str, Any] = {}
    if config.task.endswith((".yaml", ".yml")):
        changed["task"] = str(Path(config.task).expanduser().resolve())
    if config.tfcaf is not None and Path(config.tfcaf).expanduser().is_file():
        changed["tfcaf"] = str(Path(config.tfcaf).expanduser().resolve())
    synth: dict[str, Any] = {
        "start": tuple(
            name if name.isdecimal() else str(Path(name).expanduser().resolve())
            for name in config.synth.start
        )
    }
    if config.synth.prompts is not None:
        synth["prompts"] = str(Path(config.synth.prompts).expanduser().resolve())
    changed["synth"] = config.synth.model_copy(update=synth)
    env: dict[str, str] = {}
    if config.env.opponent is not None:
        env["opponent"] = str(Path(config.env.opponent).expanduser().resolve())
    where, _, function = (config.env.factory or "").rpartition(":")
    if where.endswith(".py"):
        env["factory"] = f"{Path(where).expanduser().resolve()}:{function}"
    if env:
        changed["env"] = config.env.model_copy(update=env)
    return config.model_copy(update=changed)
