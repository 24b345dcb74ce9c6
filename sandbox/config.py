"""Settings of the sandbox and of the IGM gate. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

GateMode = Literal["enforce", "relax"]
GateFunction = Literal["abs", "softplus", "relu", "softmax"]


class GateSettings(BaseModel):
    """How the gate works, whichever way it is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: GateFunction = Field(
        default="abs", description="how enforce makes weights non-negative (weights form only)"
    )
    scale_by_agents: bool = Field(
        default=False,
        description="multiply the result by n_agents, as the authors' published code does",
    )


class GateConfig(GateSettings):
    """The IGM gate (QLLM, Definition 1), appended to the credit graph after export.

    In weights form ``enforce`` maps the weights through ``function`` so that none is negative; in
    mixing form it repairs nothing, and the function must be monotone in every agent's Q. ``relax``
    leaves the sign free.
    """

    mode: GateMode = Field(default="enforce", description="enforce or relax monotonicity in the Qs")


class SandboxConfig(BaseModel):
    """How candidates are caged, and how hard they are tested."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, data: Any) -> Any:
        """Limits of the wall clock, as earlier versions kept them in their stores."""
        if not isinstance(data, dict):
            return data
        old = {"wall_s": "cpu_s", "suite_wall_s": "judge_cpu_s"}
        return {old.get(key, key): value for key, value in data.items()}

    cpu_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="seconds of processor time that a candidate's own process may take",
    )
    judge_cpu_s: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="seconds of processor time that proving and testing one function may take",
    )
    memory_mb: int = Field(
        default=1024,
        ge=128,
        le=1 << 20,
        description="memory of a candidate's own process beyond what torch has mapped, in MiB",
    )
    judge_memory_mb: int = Field(
        default=3072,
        ge=128,
        le=1 << 20,
        description="memory for proving and testing one function, likewise",
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        le=1 << 24,
        description="rows that training evaluates at once; null takes the episodes of a batch "
        "times the task's horizon",
    )
    training_mb: int = Field(
        default=2048,
        ge=1,
        le=1 << 20,
        description="memory that a function's intermediates may take for so many rows, in MiB",
    )
    examples: int = Field(
        default=100, ge=1, le=100_000, description="Hypothesis examples per property"
    )
    seed: int = Field(default=0, ge=0, description="seed of the property suite and export evidence")
    require_proofs: bool = Field(
        default=True,
        description="accept only functions whose monotonicity (under enforce) and finiteness are "
        "proved; false accepts what is merely tested, too, and says so",
    )
    allow_weaker: bool = Field(
        default=False,
        description="run although an isolation layer is missing on this machine (unsafe)",
    )
