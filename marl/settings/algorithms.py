"""Settings of the algorithms, one class each; the class says where the algorithm itself is.

Importing this loads no torch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from marl.settings.base import Settings

WITH_CREDIT = "+tfcaf"
"""Behind an algorithm's name: with a credit function in its mixing network's place."""


class AlgorithmSettings(Settings):
    """What every algorithm has: a name."""

    implementation: ClassVar[str]
    """``module:Class`` of the `marl.algorithms.base.Algorithm`."""
    credit: ClassVar[Literal["never", "optional", "required"]] = "never"
    """Whether a credit function can take its mixer's place."""
    individual: ClassVar[bool] = False
    """Whether it can learn from each agent's own reward."""

    name: str = Field(default="", description="which algorithm")

    @property
    def uses_credit(self) -> bool:
        """Whether it trains with a credit function."""
        return self.credit == "required"

    @property
    def label(self) -> str:
        """What it is called in lists: its name, and what else tells it from others of that name."""
        return self.name


class MixingSettings(AlgorithmSettings):
    """Of an algorithm whose mixing network a credit function can take the place of."""

    credit: ClassVar[Literal["never", "optional", "required"]] = "optional"

    tfcaf: bool = Field(
        default=False,
        description="a credit function in the mixing network's place; "
        f"`name{WITH_CREDIT}` says the same",
    )

    @property
    def uses_credit(self) -> bool:
        return self.tfcaf

    @property
    def label(self) -> str:
        return f"{self.name}{WITH_CREDIT}" if self.tfcaf else self.name


class VdnConfig(AlgorithmSettings):
    """VDN has no settings of its own."""

    implementation: ClassVar[str] = "marl.algorithms.vdn:Vdn"

    name: Literal["vdn"] = Field(default="vdn", description="value decomposition by summation")


class IqlConfig(AlgorithmSettings):
    """IQL has no settings of its own."""

    implementation: ClassVar[str] = "marl.algorithms.iql:Iql"
    individual: ClassVar[bool] = True

    name: Literal["iql"] = Field(default="iql", description="independent Q-learning")


class QmixConfig(AlgorithmSettings):
    """Sizes of the mixing network and of the hypernetworks that make it."""

    implementation: ClassVar[str] = "marl.algorithms.qmix:Qmix"

    name: Literal["qmix"] = Field(default="qmix", description="monotone mixing network")
    mixing_dim: int = Field(default=32, ge=1, le=1024, description="width of the mixing layer")
    hypernet_dim: int = Field(
        default=64, ge=1, le=4096, description="hidden width of the weights' hypernetworks"
    )


class QattenConfig(AlgorithmSettings):
    """Sizes of the attention and of the networks that make it."""

    implementation: ClassVar[str] = "marl.algorithms.qatten:Qatten"

    name: Literal["qatten"] = Field(default="qatten", description="attention over the agents")
    heads: int = Field(default=4, ge=1, le=64, description="attention heads")
    embed_dim: int = Field(
        default=32,
        ge=1,
        le=1024,
        description="width of queries and keys, and of c(s)'s hidden layer",
    )
    hypernet_dim: int = Field(
        default=64,
        ge=1,
        le=4096,
        description="hidden width of the queries' and head weights' networks",
    )
    weighted_head: bool = Field(
        default=False,
        description="weight the heads by the state; the paper does so on its hardest maps",
    )
    logit_penalty: float = Field(
        default=0.001,
        ge=0,
        description="weight of the attention logits' mean square, added up over the heads; "
        "0.001 in QPLEX's code of Qatten (attend_reg_coef)",
    )


class QplexConfig(AlgorithmSettings):
    """Sizes of the transformation and of the networks that make lambda."""

    implementation: ClassVar[str] = "marl.algorithms.qplex:Qplex"

    name: Literal["qplex"] = Field(default="qplex", description="duplex dueling network")
    hypernet_dim: int = Field(
        default=64, ge=1, le=4096, description="hidden width of the networks of w_i and b_i"
    )
    heads: int = Field(default=4, ge=1, le=64, description="terms in the sum of lambda_i")
    advantage_layers: int = Field(
        default=1, ge=1, le=3, description="layers of the networks that make lambda_i"
    )
    advantage_dim: int = Field(
        default=64, ge=1, le=4096, description="their hidden width, where there are several layers"
    )


MOST_JOINT_ACTIONS = 4096
"""That the exhaustive maximum goes through."""
ROWS_AT_ONCE = 8_192
"""Of the exhaustive maximum; one moment's joint actions are never split."""


class QllmConfig(AlgorithmSettings):
    """Which joint action the targets of a credit function evaluate; its gate is in its graph."""

    implementation: ClassVar[str] = "marl.algorithms.qllm:Qllm"
    credit: ClassVar[Literal["never", "optional", "required"]] = "required"

    name: Literal["qllm"] = Field(default="qllm", description="training-free credit function")
    maximum: Literal["greedy", "exhaustive"] = Field(
        default="greedy",
        description="joint action of the targets: each agent's own best one, or the best of all "
        f"joint actions (at most {MOST_JOINT_ACTIONS}); they agree where q_tot is monotone",
    )


class WeightedConfig(MixingSettings):
    """What OW-QMIX and CW-QMIX have in common."""

    alpha: float = Field(
        default=0.1, gt=0, le=1, description="weight of the joint actions that count less"
    )


class OwqmixConfig(WeightedConfig):
    """QMIX with optimistic weighting."""

    implementation: ClassVar[str] = "marl.algorithms.wqmix:Owqmix"

    name: Literal["owqmix"] = Field(default="owqmix", description="optimistically weighted QMIX")


class CwqmixConfig(WeightedConfig):
    """QMIX with central weighting."""

    implementation: ClassVar[str] = "marl.algorithms.wqmix:Cwqmix"

    name: Literal["cwqmix"] = Field(default="cwqmix", description="centrally weighted QMIX")


class QtranConfig(MixingSettings):
    """Sizes and weights of QTRAN's losses."""

    implementation: ClassVar[str] = "marl.algorithms.qtran:Qtran"

    name: Literal["qtran"] = Field(default="qtran", description="transformed factorisation (base)")
    joint_dim: int = Field(default=64, ge=1, le=4096, description="hidden width of Q(s, u) and V")
    opt: float = Field(default=1.0, ge=0, description="weight of the loss at the best action")
    nopt: float = Field(default=0.1, ge=0, description="weight of the loss at other actions")


class ActorCriticSettings(AlgorithmSettings):
    """What all actor-critics have."""

    critic_dim: int = Field(
        default=128, ge=1, le=4096, description="width of the critic's two hidden layers"
    )


class PpoConfig(ActorCriticSettings):
    """What IPPO and MAPPO have in common."""

    epochs: int = Field(default=4, ge=1, le=100, description="times a rollout is learned from")
    clip: float = Field(default=0.2, gt=0, lt=1, description="how far the policy's ratio may move")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description="lambda of the advantages")
    entropy: float = Field(default=0.01, ge=0, description="weight of the entropy")


class IppoConfig(PpoConfig):
    """PPO by every agent for itself."""

    implementation: ClassVar[str] = "marl.algorithms.ppo:Ippo"
    individual: ClassVar[bool] = True

    name: Literal["ippo"] = Field(default="ippo", description="independent PPO")


class MappoConfig(PpoConfig):
    """PPO with the team's critic."""

    implementation: ClassVar[str] = "marl.algorithms.ppo:Mappo"

    name: Literal["mappo"] = Field(default="mappo", description="PPO with a critic of the state")


class ComaConfig(ActorCriticSettings):
    """COMA's critic and entropy."""

    implementation: ClassVar[str] = "marl.algorithms.coma:Coma"

    name: Literal["coma"] = Field(default="coma", description="counterfactual policy gradients")
    td_lambda: float = Field(default=0.8, ge=0, le=1, description="lambda of the critic's targets")
    entropy: float = Field(default=0.001, ge=0, description="weight of the entropy")


class MaddpgConfig(ActorCriticSettings):
    """MADDPG's critic and regulariser."""

    implementation: ClassVar[str] = "marl.algorithms.maddpg:Maddpg"

    name: Literal["maddpg"] = Field(default="maddpg", description="discrete MADDPG")
    logit_penalty: float = Field(
        default=0.001, ge=0, description="weight of the logits' mean square"
    )


class FacmacConfig(ActorCriticSettings, MixingSettings):
    """FACMAC's critic and regulariser."""

    implementation: ClassVar[str] = "marl.algorithms.facmac:Facmac"

    name: Literal["facmac"] = Field(default="facmac", description="factored MADDPG")
    logit_penalty: float = Field(
        default=0.001, ge=0, description="weight of the logits' mean square"
    )


class RiitConfig(ActorCriticSettings, MixingSettings):
    """RIIT's two kinds of batches."""

    implementation: ClassVar[str] = "marl.algorithms.riit:Riit"

    name: Literal["riit"] = Field(default="riit", description="actors on a factored critic")
    mixing: Literal["qmix", "sum"] = Field(
        default="qmix", description="mixer of the critic, where no credit function takes its place"
    )
    newest: int = Field(default=32, ge=1, description="newest episodes in each actor's update")
    newest_lambda: float = Field(
        default=0.6, ge=0, le=1, description="lambda of the critic's targets on the newest episodes"
    )
    entropy: float = Field(default=0.03, ge=0, description="weight of the scaled entropy")


class MaserConfig(MixingSettings):
    """MASER's subgoals."""

    implementation: ClassVar[str] = "marl.algorithms.maser:Maser"

    name: Literal["maser"] = Field(default="maser", description="QMIX with subgoals from replay")
    alpha: float = Field(
        default=0.5, ge=0, le=1, description="share of an agent's own value in a subgoal's worth"
    )
    lam: float = Field(default=0.03, ge=0, description="weight of the intrinsic rewards")
    mix: float = Field(default=0.001, ge=0, description="weight of the agents' own losses")
    goal_dim: int = Field(default=128, ge=1, le=4096, description="width of the goals' network")
    reference: bool = Field(
        default=False, description="leave the goals' network untrained, as the published code does"
    )
