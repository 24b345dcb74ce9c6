"""The task of a job: its card, unit of reward and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marl.envs.kinds import ENVIRONMENTS, plays
from marl.envs.missing import missing_engine
from marl.errors import SettingsError, TrainingError
from prompts.cards import CardError, TaskCard, load_card
from qllm.config.tree import RunConfig
from qllm.errors import UsageError, WorkError


def task_card(config: RunConfig) -> TaskCard:
    """The card that the configuration names, in the unit of Q that the configuration gives.

    Raises:
        UsageError: there is none, or it breaks a rule.
    """
    try:
        card = load_card(config.task)
    except CardError as error:
        raise UsageError(str(error)) from None
    scale = config.learner.reward_scale
    return card if scale is None else card.in_unit(scale)


def can_play(card: TaskCard, config: RunConfig) -> bool:
    """Whether there is an environment for the task with these settings."""
    here = plays(card) and config.env.playable
    return here and missing_engine(card, config.env) is None


def with_reward_scale(config: RunConfig) -> RunConfig:
    """The settings with the scale of rewards in them, where it has to be measured.

    So it is measured once: checks, prompts, certificates, pilots and trainings read it there, and
    so does whoever resumes.

    Raises:
        UsageError: no card, or its environment cannot be made.
        WorkError: the environment failed.
    """
    from marl.reward_scale import measured_scale  # and torch, which reading settings does without

    card = task_card(config)
    if card.reward.scale is not None or not can_play(card, config):
        return config

    try:
        scale = measured_scale(card, config.env)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    except TrainingError as error:
        raise WorkError(str(error)) from None
    return in_scale(config, scale)


def in_scale(config: RunConfig, scale: float) -> RunConfig:
    """The settings with a measured scale of rewards in them."""
    learner = config.learner.model_copy(update={"reward_scale": scale})
    return config.model_copy(update={"learner": learner})


def playable_card(config: RunConfig) -> TaskCard:
    """The card that the configuration names, for a job that plays episodes.

    Raises:
        UsageError: as `task_card`, or nothing here plays it.
    """
    card = task_card(config)
    if not plays(card):
        raise UsageError(
            f"task '{card.name}' cannot be played: it needs an environment of kind "
            f"'{card.env.kind}', and there is {', '.join(sorted(ENVIRONMENTS))}; until then it "
            "serves `qllm check` only"
        )
    missing = missing_engine(card, config.env)
    if missing is not None:
        raise UsageError(f"task '{card.name}': {missing}")
    return card


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Files named so that the run can be resumed, and its settings fed back, from any folder."""
    synth = config.synth
    changed: dict[str, Any] = {
        "synth": synth.model_copy(
            update={
                "start": tuple(n if n.isdecimal() else _absolute(n) for n in synth.start),
                "prompts": None if synth.prompts is None else _absolute(synth.prompts),
            }
        ),
        "env": config.env.with_absolute_paths(),
    }
    if config.task.endswith((".yaml", ".yml")):
        changed["task"] = _absolute(config.task)
    if config.tfcaf is not None and Path(config.tfcaf).expanduser().is_file():
        changed["tfcaf"] = _absolute(config.tfcaf)
    return config.model_copy(update=changed)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
