"""Settings of the environments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marl.settings.base import Settings


class EnvConfig(Settings):
    """How a task's environment is run; what the task *is* stands in its card."""

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
    observe: Literal["own", "joint"] = Field(
        default="own",
        description="matrix games: each agent sees its own last action, or everybody's",
    )
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
    factory: str | None = Field(
        default=None,
        pattern=r"^.+:[A-Za-z_][A-Za-z0-9_]*$",
        description="tasks of kind pettingzoo: what makes their environment, as module:function or "
        "file.py:function, called without arguments; code of yours, which runs outside the sandbox",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="tasks of kind pettingzoo and football: processes that the environments are "
        "spread over; null takes one for each CPU, and no more than fit the memory",
    )
    worker_timeout_s: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="tasks of kind pettingzoo and football: seconds after which a worker that does "
        "not answer stops the run, or in football is replaced",
    )
    python: str | None = Field(
        default=None,
        min_length=1,
        description="tasks of kind football: a Python that has gfootball; null takes that of "
        "QLLM_FOOTBALL_PYTHON, else the one that `make football` builds",
    )
    restart_every: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000_000,
        description="tasks of kind football: episodes that a process plays before another takes "
        "its place, in case an engine keeps memory",
    )
