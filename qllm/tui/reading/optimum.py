"""The optimal return of a task, where it follows from the card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from prompts.cards import CardError, load_card


class Optimum(NamedTuple):
    """The highest expected undiscounted team return of an episode."""

    steps: int
    reward: float
    """The highest mean reward of one step."""
    by_chance: bool
    """Whether the reward is stochastic, so that returns of episodes vary."""

    @property
    def total(self) -> float:
        return self.steps * self.reward


def best_return(task: str, config: Mapping[str, Any]) -> Optimum | None:
    """The highest expected return of an episode; None where unknown.

    Known for repeated matrix games: a step's pay-off depends on the joint action and on the array
    drawn for it, all equally likely and hidden from the agents. The optimum is the joint action of
    the highest mean in every step.

    Args:
        config: the run's configuration, which may name the card's file, or another environment.
    """
    if (config.get("env") or {}).get("factory"):
        return None
    return _of_card(str(config.get("task") or task))


@lru_cache(maxsize=64)
def _of_card(name: str) -> Optimum | None:
    try:
        card = load_card(name)
    except CardError:
        return None  # its file is gone, or on another machine
    if card.env.kind != "matrix":
        return None
    options = card.env.options
    arrays = options.get("payoffs") if "payoffs" in options else [options.get("payoff")]
    entries = [_numbers(array) for array in arrays] if isinstance(arrays, list) else []
    same = len({len(numbers) for numbers in entries}) == 1
    if not same or not all(math.isfinite(n) for numbers in entries for n in numbers):
        return None
    means = [math.fsum(numbers) / len(entries) for numbers in zip(*entries, strict=True)]
    return Optimum(card.horizon, max(means), len(entries) > 1) if means else None


def _numbers(nested: Any) -> list[float]:
    if isinstance(nested, int | float):
        return [float(nested)]
    return [n for part in nested for n in _numbers(part)] if isinstance(nested, list) else []
