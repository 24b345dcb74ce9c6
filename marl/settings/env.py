"""Settings of the environments: those of all kinds of tasks, and a class for each kind with more.

A card says which kind its task is of (`marl.envs.kinds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from marl.envs.kinds import ENVIRONMENTS
from marl.errors import SettingsError
from marl.settings.base import Settings


class EnvConfig(Settings):
    """How a task's environment is run; what the task *is* stands in its card."""

    implementation: ClassVar[str] = ""
    """``module:name`` of what makes the environment, in a class that a plug-in registers."""
    engine: ClassVar[bool] = False
    """Of a plug-in's class: whether every instance has a price of its own, unlike rows of tensors,
    so that evaluations are played by few of them."""

    kind: str = Field(
        default="", description="kind of the task, which its card says; empty fits every task"
    )
    num_envs: int = Field(
        default=8,
        ge=1,
        le=65_536,
        description="environments stepped as one batch; each rollout collects one episode of each; "
        "tasks of kind pettingzoo and football have as many again for evaluations, made once",
    )
    time_limit: Literal["termination", "truncation"] = Field(
        default="termination",
        description="how the episode limit ends an episode: as a terminal step (no value after it, "
        "as in EPyMARL and the paper's numbers), or as a cut after which values go on",
    )

    @property
    def playable(self) -> bool:
        """Whether an environment can be made with these settings."""
        return True

    def with_absolute_paths(self) -> Self:
        """The same, with files named so that they are found from any folder."""
        return self

    def of(self, kind: str) -> EnvConfig:
        """The same for tasks of a kind.

        Raises:
            SettingsError: these are for tasks of another kind, or the kind's plug-in does not load.
        """
        if self.kind == kind:
            return self
        if self.kind:
            raise SettingsError(
                f"these settings of the environment are for tasks of kind {self.kind}, not {kind}"
            )
        return env_class(kind).model_validate({**self.model_dump(), "kind": kind})


class MatrixEnvConfig(EnvConfig):
    """Of matrix games."""

    kind: Literal["matrix"] = Field(default="matrix", description="matrix games")
    observe: Literal["own", "joint"] = Field(
        default="own", description="each agent sees its own last action, or everybody's"
    )


class MpeEnvConfig(EnvConfig):
    """Of particle environments."""

    kind: Literal["mpe"] = Field(default="mpe", description="particle environments")
    opponent: str | None = Field(
        default=None,
        min_length=1,
        description="mpe/tag and mpe/adversary: a file of EPyMARL's with the prey's or adversary's "
        "policy; without one a policy written for this project plays it",
    )
    opponent_numbering: Literal["original", "mpe2"] = Field(
        default="original",
        description="how the file of env.opponent counts the actions: none, right, left, up, down, "
        "as in the particle environments that it was trained in, or none, left, right, down, up "
        "as mpe2 does, and newer versions of EPyMARL with the same files",
    )

    def with_absolute_paths(self) -> Self:
        if self.opponent is None:
            return self
        return self.model_copy(update={"opponent": _absolute(self.opponent)})


class PettingZooEnvConfig(EnvConfig):
    """Of a user's own PettingZoo environment."""

    kind: Literal["pettingzoo"] = Field(
        default="pettingzoo", description="PettingZoo environments of one's own"
    )
    factory: str | None = Field(
        default=None,
        pattern=r"^.+:[A-Za-z_][A-Za-z0-9_]*$",
        description="what makes the environment, as module:function or file.py:function, called "
        "without arguments; code of yours, which runs outside the sandbox",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="processes that the environments are spread over; null takes one for each CPU",
    )
    worker_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="seconds after which a worker that does not answer stops the run",
    )

    @property
    def playable(self) -> bool:
        return self.factory is not None

    def with_absolute_paths(self) -> Self:
        where, _, function = (self.factory or "").rpartition(":")
        if not where.endswith(".py"):
            return self
        return self.model_copy(update={"factory": f"{_absolute(where)}:{function}"})


class FootballEnvConfig(EnvConfig):
    """Of Google Research Football."""

    kind: Literal["football"] = Field(default="football", description="Google Research Football")
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="processes that the engines are spread over; null takes one for each CPU, and "
        "no more than fit the memory",
    )
    worker_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="seconds after which a worker that does not answer is replaced; to make its "
        "engines it has so many for each",
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="a Python that has gfootball; null takes that of QLLM_FOOTBALL_PYTHON, else "
        "the one that `make football` builds",
    )
    restart_every: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000_000,
        description="episodes that a process plays before another takes its place, in case an "
        "engine keeps memory",
    )

    def with_absolute_paths(self) -> Self:
        if self.python is None:
            return self
        python = str(Path(self.python).expanduser().absolute())  # a link leads out of its packages
        return self.model_copy(update={"python": python})


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


OF_KIND: dict[str, type[EnvConfig]] = {
    "football": FootballEnvConfig,
    "matrix": MatrixEnvConfig,
    "mpe": MpeEnvConfig,
    "pettingzoo": PettingZooEnvConfig,
}
"""This package's kinds that have settings of their own."""


def env_class(kind: str) -> type[EnvConfig]:
    """The settings of a kind's environments; those of all kinds where it adds none or is unknown.

    Raises:
        SettingsError: the kind's plug-in does not load, or has a name that is taken.
    """
    plugin = ENVIRONMENTS[kind].settings if kind in ENVIRONMENTS else None
    return OF_KIND.get(kind) or plugin or EnvConfig


def env_classes() -> dict[str, type[EnvConfig]]:
    """The settings of every kind that something plays; plug-ins that do not load are left out."""
    return {kind: env_class(kind) for kind in ENVIRONMENTS}


def _typed(value: Any) -> Any:
    """Settings of the class that their kind says; errors inside keep their place."""
    if not isinstance(value, Mapping):
        return value
    kind = str(value.get("kind", ""))
    settings = env_class(kind)
    for key in value.keys() - settings.model_fields.keys():
        owners = [name for name, other in env_classes().items() if key in other.model_fields]
        if owners:
            said = f"{key} is for tasks of kind {' and '.join(owners)}, not '{kind}'"
            error = PydanticCustomError("other_kind", "{said}", {"said": said})
            at_key = InitErrorDetails(type=error, loc=(key,), input=value[key])
            raise ValidationError.from_exception_data(settings.__name__, [at_key])
    return settings.model_validate(value)


EnvSettings = Annotated[SerializeAsAny[EnvConfig], BeforeValidator(_typed)]
"""The settings of an environment; their ``kind`` says which class they are of."""
