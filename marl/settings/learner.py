"""Settings of how the networks are trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from marl.settings.base import Settings


class LearnerConfig(Settings):
    """How the networks are trained; the same for every algorithm."""

    lr: float = Field(default=3e-3, gt=0, description="Adam's learning rate")
    batch_size: int = Field(default=32, ge=1, description="episodes in an update")
    replay_capacity: int = Field(default=200, ge=1, description="episodes kept for replay")
    updates_per_rollout: int = Field(
        default=4, ge=1, description="updates after each rollout of env.num_envs episodes"
    )
    gamma: float | None = Field(
        default=None, gt=0, le=1, description="discount per step; null takes the task card's"
    )
    td_lambda: float = Field(
        default=0.0, ge=0, le=1, description="lambda of TD(lambda) targets; 0 is one-step"
    )
    double_q: bool = Field(
        default=True, description="online network chooses the next action, target network values it"
    )
    overestimation_weight: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="weight of steps whose q_tot is above its target, in algorithms that regress "
        "q_tot by double-Q learning; 1 weights all alike, 0.1 finds optima that additive fits miss "
        "(OW weighting against the target network's own value); OW- and CW-QMIX weigh by their own",
    )
    grad_clip: float = Field(default=10.0, gt=0, description="largest norm of the gradient")
    target_update: Literal["soft", "hard"] = Field(
        default="soft",
        description="move the target a little with every update, or copy it at times",
    )
    target_tau: float = Field(
        default=0.01, gt=0, le=1, description="soft: share of the online network taken per update"
    )
    target_interval: int = Field(default=200, ge=1, description="hard: updates between copies")
    rewards: Literal["team", "individual"] = Field(
        default="team",
        description="what is learned from: the team's reward, or each agent's own (iql, ippo; in "
        "environments that tell it); returns are the team's either way",
    )
    reward_scale: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="what rewards are divided by before anything is learned from them, the unit of "
        "every Q; null takes the task card's or, where it has none, measures it in random play "
        "before training; returns stay as they are",
    )
    standardise_states: bool = Field(
        default=True,
        description="give mixing networks the state with columns of running mean 0 and variance 1, "
        "cut at 10; credit functions always get the state as it is",
    )

    compile_mixer: bool = Field(
        default=False,
        description="run mixing networks through torch.compile: some percent faster after a "
        "minute's beginning, and rounded otherwise; a resumed run is compiled anew and need not "
        "equal an uninterrupted one bit for bit; credit functions are left as they are",
    )

    @property
    def individual(self) -> bool:
        """Whether agents learn from their own rewards."""
        return self.rewards == "individual"

    @model_validator(mode="after")
    def _fits(self) -> LearnerConfig:
        if self.batch_size > self.replay_capacity:
            raise ValueError(
                f"batch_size {self.batch_size} is more than replay_capacity {self.replay_capacity}"
            )
        return self
