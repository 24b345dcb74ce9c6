"""Exploration over time."""

from __future__ import annotations

from pydantic import Field

from marl.settings.base import Settings


class ExplorationConfig(Settings):
    """Epsilon-greedy exploration, annealed linearly."""

    start: float = Field(default=1.0, ge=0, le=1, description="epsilon at the first step")
    finish: float = Field(default=0.05, ge=0, le=1, description="epsilon after annealing")
    anneal_steps: int = Field(
        default=10_000, ge=0, description="environment steps from start to finish"
    )


def epsilon_at(config: ExplorationConfig, env_steps: int) -> float:
    """Epsilon after ``env_steps`` environment steps: a straight line, then constant."""
    if env_steps >= config.anneal_steps:
        return config.finish
    return config.start + (config.finish - config.start) * env_steps / config.anneal_steps
