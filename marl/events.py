"""What a training tells whoever watches it, and how it is told what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

    ``values`` holds ``epsilon``, ``train_return``, the card's metrics (``train_`` and their name)
    and, once learning has begun, ``loss``, ``td_error_abs``, ``q_tot_mean``, ``target_mean`` and
    ``grad_norm`` (before clipping).
    """

    env_steps: int
    wall_s: float
    values: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation, episode by episode."""

    env_steps: int
    wall_s: float
    returns: tuple[float, ...]
    """Undiscounted team returns."""
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    """The card's metrics by name, with the value in each episode."""

    @property
    def mean(self) -> float:
        """Mean return over the episodes."""
        return sum(self.returns) / len(self.returns)


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is complete on disk."""

    path: str
    env_steps: int


@dataclass(frozen=True)
class Noticed:
    """What a user should be told once of task, environment or values; nothing has failed."""

    about: str
    """A few words that tell this notice from others, the same for all trainings of the task."""
    text: str


Event = Started | Progress | Metrics | Evaluated | CheckpointSaved | Noticed
Emit = Callable[[Event], None]
Control = Callable[[], Literal["continue", "pause", "stop"]]


@dataclass(frozen=True)
class TrainResult:
    """How a training ended."""

    status: Literal["finished", "stopped"]
    env_steps: int
    updates: int
    """Gradient updates."""
    env_steps_per_s: float
    """Over ``wall_s``."""
    wall_s: float
    """Time spent training, over all attempts, pauses left out."""
    evaluations: tuple[Evaluated, ...]
    learnable_parameters: int
    reward_scale: float
    """What rewards were divided by: the unit of Q. Returns are as the environment paid them."""
    breakdown: dict[str, float]
    """Seconds per part of this attempt: rollout, sampling, forward, backward, optimiser, other."""


def ignore(event: Event) -> None:
    """An `Emit` that nobody listens to."""


def go_on() -> Literal["continue"]:
    """A `Control` that never interferes."""
    return "continue"
