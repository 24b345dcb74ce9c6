"""The settings of a training, one typed tree.

The defaults are the same for every algorithm, so that a comparison compares algorithms. They suit
short trainings on the matrix games and differ from the authors' settings, which are made for 2
million steps: 20,000 steps, epsilon annealed over 10,000 (200,000), GRU 64 (128), batches of 32
episodes (64 for QLLM), 4 updates after each rollout (1), learning rate 0.003 (0.001), a replay of
200 episodes (5,000: a short training would never forget its random beginning), rewards divided by
the card's scale (standardised).
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from marl.settings.agent import AgentConfig
from marl.settings.algorithms import AlgorithmSettings, VdnConfig
from marl.settings.base import Settings
from marl.settings.env import EnvConfig, EnvSettings
from marl.settings.evaluation import EvaluationConfig
from marl.settings.exploration import ExplorationConfig
from marl.settings.learner import LearnerConfig
from marl.settings.registry import ALGORITHMS, AlgorithmConfig


class TrainConfig(Settings):
    """Everything about a training but its task and its seed."""

    steps: int = Field(default=20_000, ge=1, description="environment steps to train for")
    algorithm: AlgorithmConfig = Field(
        default=VdnConfig(), description="how the agents' values become the team's"
    )
    env: EnvSettings = Field(default=EnvConfig(), description="how the environment is run")
    agent: AgentConfig = Field(default=AgentConfig(), description="the agents' network")
    learner: LearnerConfig = Field(default=LearnerConfig(), description="how it is trained")
    exploration: ExplorationConfig = Field(
        default=ExplorationConfig(), description="random actions while training"
    )
    evaluation: EvaluationConfig = Field(
        default=EvaluationConfig(), description="when and how it is evaluated"
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto (a GPU if there is one), cpu, cuda or cuda:N",
    )
    dtype: Literal["float32", "bfloat16", "float64"] = Field(
        default="float32",
        description="numbers of environments and networks; bfloat16: float32, but the agents' "
        "products while learning are rounded to bfloat16 (autocast), which pays on GPUs and on "
        "CPUs with AMX",
    )
    threads: int = Field(
        default=1, ge=1, le=1024, description="CPU threads; networks this small want one"
    )
    checkpoint_every: int = Field(
        default=10_000, ge=1, description="environment steps between checkpoints"
    )
    keep_checkpoints: int = Field(
        default=0,
        ge=0,
        le=1_000,
        description="older checkpoints that stay beside the newest one, each as large as that; the "
        "newest also holds the networks of the best evaluation",
    )
    log_every: int = Field(default=1_000, ge=1, description="environment steps between metrics")

    def on(self, kind: str) -> Self:
        """The same for tasks of a kind.

        Raises:
            SettingsError: the environment's settings are for another kind.
        """
        return self.model_copy(update={"env": self.env.of(kind)})

    def shortened(self, steps: int, *, updates_per_rollout: int, evaluations: int) -> Self:
        """The same training over fewer steps, exploration annealed over the same share of them.

        Args:
            steps: environment steps.
            updates_per_rollout: may be more than here, so that as much is learned.
            evaluations: along the training.
        """
        share = min(1.0, steps / self.steps)
        anneal = round(self.exploration.anneal_steps * share)
        every = max(1, steps // evaluations)
        return self.model_copy(
            update={
                "steps": steps,
                "learner": self.learner.model_copy(
                    update={"updates_per_rollout": updates_per_rollout}
                ),
                "exploration": self.exploration.model_copy(update={"anneal_steps": anneal}),
                "evaluation": self.evaluation.model_copy(update={"every": every}),
            }
        )

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.env.num_envs > self.learner.replay_capacity:
            raise ValueError(
                f"env.num_envs {self.env.num_envs} is more than learner.replay_capacity "
                f"{self.learner.replay_capacity}: a rollout would not fit the replay"
            )
        for algorithm in self._trained() if self.learner.individual else ():
            if not algorithm.individual:
                able = ", ".join(name for name in ALGORITHMS if ALGORITHMS[name].individual)
                raise ValueError(
                    f"learner.rewards=individual: algorithm {algorithm.label} learns from the "
                    f"team's reward; these can learn from each agent's own: {able}"
                )
        return self

    def _trained(self) -> tuple[AlgorithmSettings, ...]:
        """The algorithms that these settings are for."""
        return (self.algorithm,)
