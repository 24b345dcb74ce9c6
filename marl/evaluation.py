"""Evaluation episodes, which training never feels."""

from __future__ import annotations

import torch
from pydantic import Field

from marl.agents import Agent
from marl.envs.config import EnvConfig
from marl.envs.registry import make_env
from marl.rollout import collect
from marl.settings import Settings
from marl.streams import Streams, derive_seed
from prompts.cards import TaskCard


class EvaluationConfig(Settings):
    """How often and how long the agents are evaluated."""

    every: int = Field(default=2_000, ge=1, description="environment steps between evaluations")
    episodes: int = Field(default=20, ge=1, le=65_536, description="episodes in an evaluation")
    epsilon: float = Field(
        default=0.0, ge=0, le=1, description="probability of a random action; 0 is greedy"
    )


def evaluate(
    card: TaskCard,
    agent: Agent,
    config: EvaluationConfig,
    env_config: EnvConfig,
    *,
    seed: int,
    index: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[float, ...]:
    """Undiscounted team return of each of ``config.episodes`` episodes.

    The environment is a fresh one, seeded by (seed, index): evaluating leaves no trace in the
    training, and evaluation number ``index`` is the same whatever came before.
    """
    own = derive_seed(seed, "evaluation", index)
    env = make_env(card, config.episodes, own, device, dtype, env_config)
    luck = Streams(derive_seed(own, "exploration"), config.episodes, device)
    try:
        episodes = collect(env, agent, config.epsilon, luck if config.epsilon > 0 else None)
    finally:
        env.close()
    return tuple(episodes.returns().tolist())
