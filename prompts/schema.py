"""The parts of a task card: slices of the state, the reward's range, the environment."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Frozen(BaseModel):
    """Immutable; an unknown entry is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StateSlice(Frozen):
    """A run of neighbouring state columns that share one meaning."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="identifier, unique in the card")
    shape: tuple[int, ...] = Field(description="shape of the slice; columns are row-major")
    meaning: str = Field(description="what the numbers mean, in words, with units")
    kind: Literal["integer", "real", "boolean", "onehot"]
    low: float = Field(description="smallest ordinary value (sentinels not counted)")
    high: float = Field(description="largest ordinary value (sentinels not counted)")
    agent_axis: int | None = Field(default=None, description="which axis of shape runs over agents")
    sentinels: tuple[float, ...] = Field(default=(), description="special values outside the range")
    sentinel_meaning: str = ""
    unused: bool = Field(default=False, description="always zero; a function must not depend on it")
    agent: int | None = Field(
        default=None, ge=0, description="the agent whose columns these are, all of them"
    )
    others_axis: int | None = Field(
        default=None,
        description="which axis of shape runs over the agents other than `agent`, by their numbers",
    )

    @model_validator(mode="after")
    def _consistent(self) -> StateSlice:
        if not self.shape or any(n < 1 for n in self.shape):
            raise ValueError(f"slice '{self.name}': shape {self.shape} needs positive sizes")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"slice '{self.name}': needs finite low <= high")
        if self.agent_axis is not None and not 0 <= self.agent_axis < len(self.shape):
            raise ValueError(
                f"slice '{self.name}': agent_axis {self.agent_axis} is not in its shape"
            )
        if self.sentinels and not self.sentinel_meaning:
            raise ValueError(f"slice '{self.name}': say what its sentinels mean (sentinel_meaning)")
        if self.agent is not None and not self.name.startswith(self._prefix):
            raise ValueError(
                f"slice '{self.name}': of agent {self.agent}, needs a name that starts "
                f"with '{self._prefix}'"
            )
        if self.agent is not None and self.agent_axis is not None:
            raise ValueError(f"slice '{self.name}': has either an agent or an agent_axis")
        if self.others_axis is not None:
            if self.agent is None:
                raise ValueError(f"slice '{self.name}': others_axis needs an agent")
            if not 0 <= self.others_axis < len(self.shape):
                raise ValueError(
                    f"slice '{self.name}': others_axis {self.others_axis} is not in its shape"
                )
        return self

    @property
    def _prefix(self) -> str:
        return f"agent{self.agent}_"

    @property
    def field(self) -> str:
        """The name without its agent: ``velocity`` for ``agent2_velocity``."""
        return self.name if self.agent is None else self.name.removeprefix(self._prefix)

    @property
    def size(self) -> int:
        """Number of state columns."""
        return math.prod(self.shape)

    @property
    def interval(self) -> tuple[float, float]:
        """Smallest and largest value a column can take, sentinels included."""
        if self.unused:
            return (0.0, 0.0)
        return (min((self.low, *self.sentinels)), max((self.high, *self.sentinels)))


class RewardRange(Frozen):
    """Team reward of one step."""

    low: float
    high: float
    meaning: str


class EnvSpec(Frozen):
    """Which environment family plays the task, and its options (a name, no import path)."""

    kind: str
    options: dict[str, Any] = {}


class FamilySpec(Frozen):
    """Range of the parameter in a family's file name."""

    low: int
    high: int
