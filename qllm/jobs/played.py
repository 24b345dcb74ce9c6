"""What a check takes from playing its task, in a process that imports torch for the sandbox anyway.

Importing torch costs over a second of processor time, which a check would otherwise pay twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marl.envs.kinds import ENGINES
from marl.settings.env import EnvConfig, env_class
from prompts.cards import TaskCard

if TYPE_CHECKING:
    from qllm.config.tree import RunConfig
    from sandbox.checker import Errand

    States = list[tuple[float, ...]]


def errand(card: TaskCard, config: RunConfig) -> Errand | None:
    """Playing a task as work for the sandbox's warm process.

    Returns:
        None where nothing plays it, or code of the user's does, which needs this process's
        surroundings.
    """
    from qllm.jobs.tasks import can_play, with_absolute_paths
    from sandbox.checker import Errand

    if not can_play(card, config) or card.env.kind in ENGINES:
        return None
    env = with_absolute_paths(config).env
    argument = {"card": card.model_dump(mode="json"), "env": env.model_dump(mode="json")}
    return Errand(f"{__name__}:play", argument)


def play(argument: dict[str, Any]) -> dict[str, Any]:
    """The errand: the rewards' ``scale``, measured where the card has none, and real ``states``."""
    from marl.reward_scale import measured_scale
    from qllm.jobs.states import states_of

    card = TaskCard.model_validate(argument["card"])
    kind = argument["env"]["kind"]
    env = (env_class(kind) if kind else EnvConfig).model_validate(argument["env"])
    scale = card.reward.scale
    if scale is None:
        scale = measured_scale(card, env)
        card = card.in_unit(scale)
    return {"scale": scale, "states": states_of(card, env)}


def told(answer: Any, config: RunConfig) -> tuple[RunConfig, States]:
    """The settings with the scale of rewards in them, and real states.

    Args:
        answer: the errand's; None plays the task here, which also says what is wrong with it.
        config: the settings.

    Raises:
        UsageError: the environment cannot be made.
        WorkError: it failed.
    """
    from qllm.jobs.tasks import in_scale, task_card, with_reward_scale

    if answer is None:
        from qllm.jobs.states import real_states

        config = with_reward_scale(config)
        return config, real_states(task_card(config), config)
    if task_card(config).reward.scale is None:
        config = in_scale(config, answer["scale"])
    return config, [tuple(state) for state in answer["states"]]
