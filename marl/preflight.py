"""Check trainings before any of them begins: what their settings alone cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import torch

from marl.algorithms.base import Build, TaskSizes
from marl.algorithms.registry import make_algorithm
from marl.envs.registry import make_env
from marl.memory import require_room
from marl.settings.env import EnvConfig
from marl.settings.train import TrainConfig
from prompts.cards import TaskCard
from sandbox.graph import CreditGraph
from sandbox.runtime import CreditFunction


def preflight(
    card: TaskCard,
    trainings: Sequence[TrainConfig],
    device: torch.device,
    dtype: torch.dtype,
    graph: CreditGraph | None,
    *,
    at_once: int,
    playing: EnvConfig,
) -> None:
    """Make each environment and algorithm once, and reckon with the memory of the replays.

    Args:
        card: the task.
        trainings: one of each algorithm, with settled settings.
        device, dtype: of the environments.
        graph: of the credit function; None where it is yet to be found.
        at_once: trainings with a replay of their own at the same time.
        playing: settings of the environment that is played beside the trainings.

    Raises:
        SettingsError: an environment cannot be made, an algorithm does not fit the task, or a
            replay does not fit the memory.
    """
    individual = any(one.learner.individual for one in trainings)
    for env_config in dict.fromkeys(_single(env) for env in [playing, *(t.env for t in trainings)]):
        own = [one for one in trainings if _single(one.env) == env_config]
        made = make_env(card, 1, 0, device, dtype, env_config, individual=individual)
        with closing(made) as env:
            sizes, horizon = TaskSizes.of(card, env.obs_dim, env.agent_types), env.horizon
            for training in own:
                require_room(training, env, device, at_once=at_once)
        for training in own:
            function = None
            if training.algorithm.uses_credit:
                if graph is None:
                    continue
                function = CreditFunction(graph)
            make_algorithm(Build(training, sizes, card.gamma, horizon, credit=function))


def _single(config: EnvConfig) -> EnvConfig:
    """The settings of one instance of an environment."""
    return config.model_copy(update={"num_envs": 1})
