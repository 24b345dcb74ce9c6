"""Settings of evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from marl.envs.kinds import deterministic, is_engine
from marl.settings.base import Settings

if TYPE_CHECKING:
    from prompts.cards import TaskCard

FINAL_EPISODES = 1_000
"""Of a last evaluation where episodes are cheap: with a hundred the standard error of a seed's mean
is about as large as the spread between seeds."""


class EvaluationConfig(Settings):
    """How often and how long the agents are evaluated."""

    every: int = Field(default=2_000, ge=1, description="environment steps between evaluations")
    episodes: int = Field(default=20, ge=1, le=65_536, description="episodes in an evaluation")
    final_episodes: int | None = Field(
        default=None,
        ge=1,
        le=65_536,
        description="episodes in the last evaluation, from which results are taken; where not set "
        "1 if greedy play is deterministic (most matrix games), 1,000 if episodes are cheap (rows "
        "of tensors), else as many as in the others",
    )
    epsilon: float = Field(
        default=0.0, ge=0, le=1, description="probability of a random action; 0 is greedy"
    )

    def last_episodes(self, card: TaskCard) -> int:
        """Episodes in the last evaluation of a task."""
        if self.final_episodes is not None:
            return self.final_episodes
        if deterministic(card) and self.epsilon == 0:
            return 1
        return self.episodes if is_engine(card) else max(self.episodes, FINAL_EPISODES)
