"""Settings of the environments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marl.settings import Settings


class EnvConfig(Settings):
    """How a task's environment is run; what the task *is* stands in its card."""

    num_envs: int = Field(
        default=8,
        ge=1,
        le=65_536,
        description="environments stepped as one batch; each rollout collects one episode of each",
    )
    time_limit: Literal["termination", "truncation"] = Field(
        default="termination",
        description="how the episode limit ends an episode: as a terminal step (no value after it, "
        "as in EPyMARL and the paper's numbers), or as a cut after which values go on",
    )
    observe: Literal["own", "joint"] = Field(
        default="own",
        description="matrix games: each agent sees its own last action, or everybody's",
    )
