"""Real states and rewards of a job's task. Torch is imported only to play the task here.

A check has it played in the sandbox's warm process, which imports torch anyway: importing it costs
over a second of processor time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marl.envs.kinds import is_engine
from marl.errors import TrainingError
from prompts.cards import TaskCard
from qllm.errors import WorkError
from qllm.jobs.tasks import can_play, in_scale, task_card, with_absolute_paths, with_reward_scale

if TYPE_CHECKING:
    from prompts.render import SampleRow
    from qllm.config.tree import RunConfig
    from sandbox.checker import Errand

    States = list[tuple[float, ...]]


def sample_rows(card: TaskCard, config: RunConfig, most: int) -> list[SampleRow]:
    """The first states of an episode and the rewards after them; none where nothing plays it.

    Raises:
        SettingsError: the environment cannot be made.
        WorkError: it failed.
    """
    from marl.random_play import sample_rows as sampled

    try:
        return sampled(card, config.env, most) if can_play(card, config) else []
    except TrainingError as error:
        raise WorkError(str(error)) from None


def real_states(card: TaskCard, config: RunConfig) -> States:
    """Additional states for the property suite, besides its draws from the card.

    Raises:
        SettingsError, WorkError: as `sample_rows`.
    """
    from marl.random_play import STATES

    return [row.state for row in sample_rows(card, config, STATES)]


def errand(card: TaskCard, config: RunConfig) -> Errand | None:
    """Playing a task as work for the sandbox's warm process.

    Returns:
        None where nothing plays it, or code of the user's does, which needs this process's
        surroundings.
    """
    from sandbox.checker import Errand

    if not can_play(card, config) or is_engine(card):
        return None
    env = with_absolute_paths(config).env
    argument = {"card": card.model_dump(mode="json"), "env": env.model_dump(mode="json")}
    return Errand("marl.random_play:scale_and_states", argument)


def scaled_with_states(answer: Any, config: RunConfig) -> tuple[RunConfig, States]:
    """The settings with the scale of rewards in them, and real states.

    Args:
        answer: the errand's; None plays the task here, which also says what is wrong with it.

    Raises:
        UsageError: the environment cannot be made.
        WorkError: it failed.
    """
    if answer is None:
        config = with_reward_scale(config)
        return config, real_states(task_card(config), config)
    if task_card(config).reward.scale is None:
        config = in_scale(config, answer["scale"])
    return config, [tuple(state) for state in answer["states"]]
