"""The best return that a task allows, where its card tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from prompts.cards import CardError, load_card


class Optimum(NamedTuple):
    """The highest undiscounted team return of an episode."""

    steps: int
    reward: float
    """The best of one step."""

    @property
    def total(self) -> float:
        """The return."""
        return self.steps * self.reward


def best_return(task: str, config: Mapping[str, Any]) -> Optimum | None:
    """The highest return that an episode allows; None where nobody knows.

    Known of repeated matrix games: their pay-off depends on the joint action alone, so the best is
    to play the highest entry in every step.

    Args:
        task: the run's task.
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
        return None  # of a file that is not there any more, or on another machine
    if card.env.kind != "matrix":
        return None
    entries = list(_numbers(card.env.options.get("payoff")))
    known = entries and all(map(math.isfinite, entries))
    return Optimum(card.horizon, max(entries)) if known else None


def _numbers(nested: Any) -> list[float]:
    if isinstance(nested, int | float):
        return [float(nested)]
    return [n for part in nested for n in _numbers(part)] if isinstance(nested, list) else []
