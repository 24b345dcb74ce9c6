"""Which environment plays which kind of task. Importing this loads no environment, and no torch."""

from __future__ import annotations

from marl.envs.football.install import NotInstalledError, football_python
from prompts.cards import TaskCard

ENVIRONMENTS: dict[str, str] = {
    "football": "marl.envs.football.env:FootballEnv",
    "lbf": "marl.envs.lbf.env:Foraging",
    "matrix": "marl.envs.matrix:MatrixGame",
    "mpe": "marl.envs.mpe.make:make_particles",
    "pettingzoo": "marl.envs.pettingzoo:PettingZooEnv",
}
"""By the kind that a card's ``env`` names: the module and the class or function in it that makes a
`marl.envs.base.BatchedEnv` of a card."""

ENGINES = frozenset({"football", "pettingzoo"})
"""Kinds whose every instance is an engine with a price of its own. Instances of the others are rows
of tensors, of which hundreds cost little more than one."""


def deterministic(card: TaskCard) -> bool:
    """Whether greedy agents play the same episode every time: of matrix games, unless one draws."""
    return card.env.kind == "matrix" and "payoffs" not in card.env.options


def plays(card: TaskCard) -> bool:
    """Whether there is an environment for a task, so that it can be played and trained."""
    return card.env.kind in ENVIRONMENTS


def missing_engine(card: TaskCard, python: str | None = None) -> str | None:
    """What is not installed here of what plays a task, in words; None if nothing is missing.

    Args:
        python: the setting ``env.python``.
    """
    if card.env.kind != "football":
        return None
    try:
        football_python(python)
    except NotInstalledError as error:
        return str(error)
    return None
