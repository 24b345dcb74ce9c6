"""Settings of how models are run, the same for all of them. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelsConfig(BaseModel):
    """Settings for starting, reaching and making room for models; the registry lists them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_remote: bool = Field(
        default=False,
        description="also ask servers on other machines, which then read the task and every "
        "candidate; without it a URL must be on this machine (127.0.0.1, ::1 or localhost)",
    )
    vllm_python: str | None = Field(
        default=None,
        description="Python of the environment that vLLM is installed in, such as "
        "~/vllm/bin/python; a model's own setting comes first, then this, then QLLM's own Python",
    )
    handover: Literal["keep", "sleep", "stop"] = Field(
        default="sleep",
        description="what a model that holds the GPU does while trainings use the same one: `keep` "
        "its memory, `sleep` (weights move to main memory and come back in seconds; a server that "
        "cannot sleep is stopped) or `stop` (started again afterwards, in about a minute)",
    )
    start_timeout_s: float = Field(
        default=900.0,
        gt=0,
        le=86_400,
        description="seconds that a server may take to become ready; large weights on slow disks "
        "take minutes",
    )
    request_timeout_s: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="seconds that a server may be silent in the middle of a request",
    )
    reply_timeout_s: float = Field(
        default=3600.0,
        gt=0,
        le=864_000,
        description="seconds that one request to a server may take as a whole; a reply that comes "
        "to no end by then has failed",
    )
    verify: bool = Field(
        default=True,
        description="hold a model's folder against what it was when it was added, each time it is "
        "opened (sizes and headers; takes milliseconds)",
    )
