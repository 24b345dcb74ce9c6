"""What a training tells whoever watches it, and how it is told what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Started:
    """Training begins, or goes on after a resume."""

    algorithm: str
    device: str
    env_steps: int
    """Environment steps already done; 0 unless resumed."""
    total_steps: int
    learnable_parameters: int
    """Of agents and mixer together."""
    agent_parameters: int
    mixer_parameters: int


@dataclass(frozen=True)
class Progress:
    """Where the training is; sent a few times a second at most."""

    env_steps: int
    total_steps: int
    env_steps_per_s: float
    """Over the time since the last Progress, learning and evaluation included."""


@dataclass(frozen=True)
class Metrics:
    """Means over the updates and episodes since the last Metrics.

    ``values`` holds ``epsilon`` and ``train_return`` and, once learning has begun, ``loss``,
    ``td_error_abs``, ``q_tot_mean``, ``target_mean`` and ``grad_norm`` (before clipping).
    """

    env_steps: int
    wall_s: float
    values: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: the undiscounted team return of each episode."""

    env_steps: int
    wall_s: float
    returns: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean return over the episodes."""
        return sum(self.returns) / len(self.returns)


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete on disk."""

    path: str
    env_steps: int


Event = Started | Progress | Metrics | Evaluated | CheckpointSaved
Emit = Callable[[Event], None]
Control = Callable[[], Literal["continue", "pause", "stop"]]


@dataclass(frozen=True)
class TrainResult:
    """How a training ended."""

    status: Literal["finished", "stopped"]
    env_steps: int
    env_steps_per_s: float
    """Over ``wall_s``."""
    wall_s: float
    """Time spent training, over all attempts, pauses left out."""
    evaluations: tuple[Evaluated, ...]
    learnable_parameters: int
    breakdown: dict[str, float]
    """Seconds per part of this attempt: rollout, sampling, forward, backward, optimiser, other."""


def ignore(event: Event) -> None:
    """An `Emit` that nobody listens to."""


def go_on() -> Literal["continue"]:
    """A `Control` that never interferes."""
    return "continue"
