"""The task of a job."""

from __future__ import annotations

from pathlib import Path

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


def with_absolute_task(config: RunConfig) -> RunConfig:
    """A card's file named so that the run can be resumed from any working folder."""
    if config.task.endswith((".yaml", ".yml")):
        return config.model_copy(update={"task": str(Path(config.task).expanduser().resolve())})
    return config
