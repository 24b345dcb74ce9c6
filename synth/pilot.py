"""Pilots: brief trainings under equal conditions, which a measured evaluation is handed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from synth.config import MEANINGFUL_UPDATES, SynthConfig

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


def candidate_of(key: str) -> str:
    """The key of the candidate that a pilot is of."""
    return key.removesuffix(_RELAXED)


ALIKE = 0.02
"""Returns within this share of the largest magnitude are called alike."""


def alike(returns: Sequence[float]) -> bool:
    """Whether returns lie so near to each other that they tell nothing apart."""
    scale = max((abs(r) for r in returns), default=0.0)
    return not returns or max(returns) - min(returns) <= ALIKE * scale


@dataclass(frozen=True)
class PilotPlan:
    """Length of one pilot training."""

    steps: int
    """Environment steps."""
    updates: int
    """Gradient updates, if every episode is as long as it can be; more where they end early."""
    updates_per_rollout: int

    @classmethod
    def of(
        cls,
        config: SynthConfig,
        *,
        rollout: int,
        num_envs: int,
        batch_size: int,
        updates_per_rollout: int,
        steps: int,
    ) -> PilotPlan:
        """`SynthConfig.pilot_steps`, or the steps that `SynthConfig.pilot_updates` take.

        Learning begins with the first whole batch of episodes. To reach the updates within fewer
        environment steps there is at least one update an episode, and up to two where the training
        is too short otherwise; a pilot is never longer than the training.

        Args:
            config: of the search.
            rollout: environment steps of one rollout of the training it chooses for.
            num_envs, batch_size, updates_per_rollout, steps: of that training.
        """
        idle = math.ceil(batch_size / num_envs) - 1  # rollouts before there is a batch

        def updates(steps: int, ratio: int) -> int:
            return max(0, math.ceil(steps / rollout) - idle) * ratio

        if config.pilot_steps is not None:
            own = updates(config.pilot_steps, updates_per_rollout)
            return cls(config.pilot_steps, own, updates_per_rollout)
        ratio = max(updates_per_rollout, num_envs)
        steps = min(steps, (idle + math.ceil(config.pilot_updates / ratio)) * rollout)
        if updates(steps, ratio) < config.pilot_updates:
            learning = max(1, math.ceil(steps / rollout) - idle)
            ratio = max(ratio, min(2 * num_envs, math.ceil(config.pilot_updates / learning)))
        return cls(steps, updates(steps, ratio), ratio)

    @property
    def warning(self) -> str:
        """Warning that so few updates rank nothing; empty where they are enough."""
        if self.updates >= MEANINGFUL_UPDATES:
            return ""
        return (
            f"pilots of about {self.updates:,} updates: below {MEANINGFUL_UPDATES:,} agents have"
            " hardly learned, and a ranking says little (synth.pilot_updates; never longer than"
            " the training, steps)"
        )


@dataclass(frozen=True)
class PilotRequest:
    """One function to train with."""

    key: str
    """The candidate's key, or ``BASELINE_KEY``."""
    graph: CreditGraph | None
    """The gated graph; ``None`` asks for the plain sum (VDN)."""


@dataclass(frozen=True)
class PilotScore:
    """Score of a function. The numbers come from the caller's statistics, never from here."""

    key: str
    finals: tuple[float, ...] = ()
    """For each seed the mean return over the episodes of its last evaluation; empty on failure."""
    areas: tuple[float, ...] = ()
    """For each seed the area under its curve: the mean of its evaluations after the first step."""
    curve: tuple[tuple[int, float], ...] = ()
    """(environment steps, mean over the seeds' mean returns) of every evaluation."""
    env_steps: int = 0
    """Environment steps trained, all seeds together."""
    updates: int = 0
    """Gradient updates of one training, the fewest of all seeds; 0 where that is not known."""
    episodes: int = 0
    """Episodes behind each of ``finals``; 0 where that is not known."""
    error: str = ""
    """Why the training failed; such a pilot has no score and is never selected."""

    def __post_init__(self) -> None:
        given = (*self.finals, *self.areas)
        if self.error and given:
            raise ValueError(f"pilot '{self.key}' failed ({self.error}), so it cannot have a score")
        if not self.error and not len(self.finals) == len(self.areas) > 0:
            raise ValueError(f"pilot '{self.key}' did not fail, so it needs a score for each seed")
        if not all(math.isfinite(x) for x in given):
            raise ValueError(f"pilot '{self.key}': returns {given} are not finite; give an error")

    @property
    def final_mean(self) -> float:
        """Mean over the seeds of the final returns.

        Raises:
            ValueError: the pilot failed.
        """
        return self._mean(self.finals)

    @property
    def area_mean(self) -> float:
        """Mean over the seeds of the areas under the curve; raises as `final_mean` does."""
        return self._mean(self.areas)

    def _mean(self, values: tuple[float, ...]) -> float:
        if self.error:
            raise ValueError(f"pilot '{self.key}' has no score: {self.error}")
        return fmean(values)


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
