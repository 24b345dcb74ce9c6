"""Settings of the agents' networks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from marl.settings.base import Settings


class AgentConfig(Settings):
    """The network that turns what an agent sees into its Q-values."""

    core: Literal["gru", "feedforward"] = Field(
        default="gru",
        description="gru: remembers the episode so far; feedforward: sees the present moment only",
    )
    share: Literal["all", "by_type", "none"] = Field(
        default="all",
        description="who has the same weights: all agents, those of one type (the card's `types`, "
        "else its exchangeable agents or the environment's names), or nobody; an actor-critic's "
        "critic is always one network",
    )
    hidden: int = Field(default=64, ge=1, le=4096, description="width of the hidden layers")
    agent_id: bool = Field(default=True, description="append the agent's one-hot id to its input")
    last_action: bool = Field(
        default=False, description="append the agent's one-hot last action to its input"
    )
