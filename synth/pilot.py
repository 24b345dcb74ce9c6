"""What a measured evaluation needs from outside: brief trainings, all under the same conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sandbox.graph import CreditGraph

BASELINE_KEY = "vdn"
"""Key of the plain sum of the agents' values among the pilots."""

_RELAXED = "@relax"


def relaxed_key(key: str) -> str:
    """The key of a function's pilot under the relaxed gate, where both gates are tried."""
    return key + _RELAXED


def is_relaxed(key: object) -> bool:
    """Whether a pilot's key, as it may stand in a store, is one of `relaxed_key`."""
    return str(key).endswith(_RELAXED)


def candidate_key(key: str) -> str:
    """The key of the candidate that a pilot is of."""
    return key.removesuffix(_RELAXED)


ALIKE = 0.02
"""Returns within this share of the largest magnitude are called alike."""


def alike(returns: Sequence[float]) -> bool:
    """Whether returns lie so near to each other that they tell nothing apart."""
    scale = max((abs(r) for r in returns), default=0.0)
    return not returns or max(returns) - min(returns) <= ALIKE * scale


@dataclass(frozen=True)
class PilotRequest:
    """One function to train with."""

    key: str
    """The candidate's key, or ``BASELINE_KEY``."""
    graph: CreditGraph | None
    """The gated graph; ``None`` asks for the plain sum (VDN)."""


@dataclass(frozen=True)
class PilotScore:
    """How a function did. The numbers come from the caller's statistics, never from here."""

    key: str
    final_iqm: float | None
    """Interquartile mean of the episode returns at the last evaluation, all seeds together."""
    final_mean: float | None
    """Mean of the same returns."""
    best_mean: float | None
    """Highest mean return of any evaluation on the curve."""
    curve: tuple[tuple[int, float], ...] = ()
    """(environment steps, mean return over seeds and episodes) of every evaluation."""
    env_steps: int = 0
    """Environment steps trained, all seeds together."""
    error: str = ""
    """Why the training failed; such a pilot has no score and is never selected."""
    episodes: int = 0
    """Episodes behind ``final_iqm``, all seeds together; 0 where that is not known."""

    def __post_init__(self) -> None:
        given = [x for x in (self.final_iqm, self.final_mean, self.best_mean) if x is not None]
        if self.error and given:
            raise ValueError(f"pilot '{self.key}' failed ({self.error}), so it cannot have a score")
        if not self.error and len(given) < 3:
            raise ValueError(f"pilot '{self.key}' did not fail, so it needs all three numbers")
        if not all(math.isfinite(x) for x in given):
            raise ValueError(f"pilot '{self.key}': returns {given} are not finite; give an error")

    def numbers(self) -> tuple[float, float, float]:
        """``final_iqm``, ``final_mean`` and ``best_mean``.

        Raises:
            ValueError: the pilot failed.
        """
        if self.final_iqm is None or self.final_mean is None or self.best_mean is None:
            raise ValueError(f"pilot '{self.key}' has no score: {self.error}")
        return self.final_iqm, self.final_mean, self.best_mean


class Pilot(Protocol):
    """Trains functions briefly: every one of them with every seed, so that scores are paired."""

    def __call__(
        self, candidates: Sequence[PilotRequest], seeds: Sequence[int], steps: int
    ) -> list[PilotScore]:
        """One score for each request, in the order of the requests.

        ``steps`` counts environment steps of one training. A training that fails gives a score with
        an ``error``; it raises only what should end the synthesis (``Interrupted`` among it).
        """
        ...
