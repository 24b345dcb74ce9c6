"""Which environment plays which kind of task. Importing this loads no environment, and no torch.

A package adds one by an entry point of the group ``qllm.environments``, whose name is the kind and
whose object is what makes the environment, or a subclass of `marl.settings.env.EnvConfig` whose
``implementation`` names that.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from marl.errors import SettingsError
from marl.plugins import Registry

if TYPE_CHECKING:
    from marl.envs.base import BatchedEnv
    from marl.settings.env import EnvConfig
    from prompts.cards import TaskCard


@dataclass(frozen=True)
class Environment:
    """What plays a kind of task."""

    maker: str | Callable[..., BatchedEnv]
    """The class or function, or where it is: ``module:name``."""
    settings: type[EnvConfig] | None = None
    """Of a plug-in that has some."""
    engine: bool = False
    """Whether every instance has a price of its own, such as a process. Instances of the others are
    rows of tensors, of which hundreds cost little more than one."""
    small: bool = False
    """Whether its games are learned within the trainer's default number of steps."""
    deterministic: Callable[[TaskCard], bool] = lambda card: False
    """Whether greedy agents play the same episode of a task every time."""

    def make(self, *arguments: Any) -> BatchedEnv:
        """An environment, as `marl.envs.registry.make_env` asks for it.

        Raises:
            SettingsError: what makes it is not there.
        """
        if not isinstance(self.maker, str):
            return self.maker(*arguments)
        module, _, name = self.maker.partition(":")
        try:
            maker = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise SettingsError(f"environment '{self.maker}' cannot be loaded: {error}") from None
        made: BatchedEnv = maker(*arguments)
        return made


_OWN: dict[str, Environment] = {
    "football": Environment("marl.envs.football.env:FootballEnv", engine=True),
    "lbf": Environment("marl.envs.lbf.env:Foraging"),
    "matrix": Environment(
        "marl.envs.matrix:MatrixGame",
        small=True,
        deterministic=lambda card: "payoffs" not in card.env.options,  # else one is drawn each step
    ),
    "mpe": Environment("marl.envs.mpe.make:make_particles"),
    "pettingzoo": Environment("marl.envs.pettingzoo:PettingZooEnv", engine=True),
}
"""By the kind that a card's ``env`` names. One with settings of its own also has a line in
`marl.settings.env.OF_KIND`."""


def _accepted(kind: str, found: Any) -> Environment:
    # `EnvConfig` itself is not asked for: its module reads this one.
    settings = isinstance(found, type) and issubclass(found, BaseModel)
    if not (settings and hasattr(found, "implementation")):
        if not callable(found):
            raise ValueError("makes no environment: it cannot be called, and is no EnvConfig")
        return Environment(found, engine=bool(getattr(found, "engine", False)))
    called = found.model_fields["kind"].default
    if called != kind:
        raise ValueError(f"is of kind '{called}': give both the same name")
    if not found.implementation:
        raise ValueError("has no implementation: name what makes the environment, as module:name")
    return Environment(found.implementation, found, found.engine)


ENVIRONMENTS = Registry("qllm.environments", "environment", _OWN, _accepted)


def is_engine(card: TaskCard) -> bool:
    """Whether every instance of a task's environment has a price of its own."""
    return plays(card) and ENVIRONMENTS[card.env.kind].engine


def deterministic(card: TaskCard) -> bool:
    """Whether greedy agents play the same episode every time."""
    return plays(card) and ENVIRONMENTS[card.env.kind].deterministic(card)


def small(kind: str) -> bool:
    """Whether games of a kind are learned within the trainer's default number of steps."""
    return kind in ENVIRONMENTS and ENVIRONMENTS[kind].small


def plays(card: TaskCard) -> bool:
    """Whether there is an environment for a task, so that it can be played and trained."""
    return card.env.kind in ENVIRONMENTS
