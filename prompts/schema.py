"""The parts of a task card: slices of the state, the reward's range, the environment."""

from __future__ import annotations

import math
import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_COLUMNS = 100_000
"""Of a state; a credit graph has no more."""
MAX_WHOLE = 2**53
"""Beyond it float64 does not hold every whole number."""


def _printable(text: str) -> str:
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text):
        raise ValueError(f"{text!r} has control characters or line breaks")
    return text


def _moderate(x: float) -> float:
    if abs(x) > _LARGEST:
        raise ValueError(f"{x:g} is beyond {_LARGEST:g}")
    return x


_LARGEST = 1e30  # a return of a million rewards is still finite in float32

Number = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_moderate)]
Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Text = Annotated[str, Field(max_length=100_000)]
Meaning = Annotated[str, Field(max_length=2_000)]


class Frozen(BaseModel):
    """Immutable; an unknown entry is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StateSlice(Frozen):
    """A run of neighbouring state columns that share one meaning."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", max_length=100, description="identifier, unique in the card"
    )
    shape: tuple[int, ...] = Field(
        max_length=8, description="shape of the slice; columns are row-major"
    )
    meaning: Meaning = Field(description="what the numbers mean, in words, with units")
    kind: Literal["integer", "real", "boolean", "onehot"]
    low: Number = Field(description="smallest ordinary value (sentinels not counted)")
    high: Number = Field(description="largest ordinary value (sentinels not counted)")
    agent_axis: int | None = Field(default=None, description="which axis of shape runs over agents")
    sentinels: tuple[Number, ...] = Field(
        default=(), max_length=64, description="special values outside the range"
    )
    sentinel_meaning: Meaning = ""
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
        if self.size > MAX_COLUMNS:
            raise ValueError(
                f"slice '{self.name}': shape {self.shape} has more than {MAX_COLUMNS:,} columns"
            )
        self._check_range()
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

    def _check_range(self) -> None:
        if self.low > self.high:
            raise ValueError(f"slice '{self.name}': low {self.low:g} is above high {self.high:g}")
        ends = (self.low, self.high)
        if self.kind == "integer" and not all(x.is_integer() and abs(x) <= MAX_WHOLE for x in ends):
            raise ValueError(f"slice '{self.name}': integer, needs whole low and high within 2^53")
        if self.kind in ("boolean", "onehot") and not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"slice '{self.name}': {self.kind}, needs low and high within 0 and 1")

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


class _Range(Frozen):
    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        return self


class RewardRange(_Range):
    """Team reward of one step."""

    meaning: Meaning
    scale: Annotated[Number, Field(gt=0)] | None = Field(
        default=None,
        description="what rewards are divided by before anything is learned from them, and so the "
        "unit of every Q; null: measured before training",
    )


class EnvSpec(Frozen):
    """Which environment family plays the task, and its options (a name, no import path)."""

    kind: Word
    options: dict[str, Any] = {}


class FamilySpec(_Range):
    """Range of the parameter in a family's file name."""

    low: int
    high: int


class MetricSpec(Frozen):
    """A number that the environment tells in its infos, such as whether an episode was won."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", max_length=100, description="identifier, unique in the card"
    )
    meaning: Meaning = Field(description="what an episode's value means, in words, with its unit")
    info: Word = Field(default="", description="name in the infos; the metric's own by default")
    take: Literal["last", "sum", "max", "mean"] = Field(
        description="which of an episode's steps: the last that tells it, or all of them together"
    )
    agents: Literal["mean", "sum", "max", "min"] = Field(
        default="mean", description="how a step's values of several agents become one"
    )
    absent: Number = Field(default=0.0, description="value of an episode that never tells it")

    @model_validator(mode="before")
    @classmethod
    def _under_its_own_name(cls, data: Any) -> Any:
        return {"info": data.get("name"), **data} if isinstance(data, dict) else data
