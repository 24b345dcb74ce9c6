"""The whole configuration: task, algorithm, training, search, machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from marl.settings.algorithms import ROWS_AT_ONCE, WITH_CREDIT, AlgorithmSettings, QllmConfig
from marl.settings.base import laid_over
from marl.settings.registry import algorithm_config, spelled_out, uses_credit
from marl.settings.train import TrainConfig
from models.config import ModelsConfig
from prompts.cards import TaskCard
from qllm.config.errors import ConfigError
from qllm.trackers.config import TrackingConfig
from sandbox.config import GateConfig, GateMode, GateSettings, SandboxConfig
from synth.config import SynthConfig

Seed = Annotated[int, Field(ge=0, lt=2**31)]

OWN_GROUPS = ("algorithm", "env", "agent", "learner", "exploration")
"""Settings that may differ between the algorithms of a run."""


def algorithm_of(settings: Mapping[str, Any]) -> str:
    """The label of the algorithm in settings that name one, as stored: ``riit+tfcaf``."""
    named = settings["algorithm"]
    return f"{named['name']}{WITH_CREDIT if named.get('tfcaf') is True else ''}"


class GateChoice(GateSettings):
    """The IGM gate's settings; ``auto`` leaves the mode to the search."""

    mode: Literal["enforce", "relax", "auto"] = Field(
        default="enforce",
        description="enforce or relax monotonicity in the Qs; `auto` lets a search decide for its "
        "task by paired pilot trainings",
    )

    def under(self, mode: GateMode) -> GateConfig:
        """The gate with its mode decided."""
        return GateConfig(mode=mode, function=self.function, scale_by_agents=self.scale_by_agents)

    def decided(self) -> GateConfig:
        """The gate, where a single function is to be checked or trained.

        Raises:
            ConfigError: it is left to a search.
        """
        if self.mode == "auto":
            raise ConfigError(
                "gate.mode=auto: only a search can decide the gate (`qllm synth`, `qllm run`); "
                "set gate.mode to enforce or relax here"
            )
        return self.under(self.mode)


class RunConfig(TrainConfig):
    """Every setting of ``qllm run``, ``synth``, ``train`` and ``compare``.

    The trainer's settings stand at the top, since they are what people change most:
    ``learner.lr``, ``agent.hidden``, ``steps``. A command refuses settings on its command
    line that it has no use for; those of a file it leaves aside.
    """

    task: str = Field(
        min_length=1,
        description="name of a task card, such as matrix/climbing, or the path of a card's file",
    )
    preset: Literal["equal", "epymarl", "paper"] = Field(
        default="equal",
        description="where the settings begin that are not given: `equal` (the same for all "
        "algorithms), `epymarl` (its reference settings) or `paper` (its authors' settings, which "
        "differ between algorithms); `docs/presets.md` lists them",
    )
    seeds: tuple[Seed, ...] = Field(
        default=(0,),
        min_length=1,
        description="one training per algorithm and seed; several, such as `0,1,2` or `[0,1,2]`, "
        "give means with intervals",
    )
    algorithms: tuple[str, ...] = Field(
        default=(),
        description="what `compare` and `run` train; `train` reads `algorithm` instead",
    )
    own: dict[str, dict[str, Any]] = Field(
        default={},
        description="by algorithm, what it alone has: `own.qmix.learner.lr`; settings of "
        + ", ".join(f"`{group}`" for group in OWN_GROUPS),
    )
    variants: dict[str, dict[str, Any]] = Field(
        default={},
        description="what `compare` and `run` train in place of `algorithms`: a list such as "
        "`[vdn, wide=qmix:agent.hidden=128]`, or by label an `algorithm` and "
        "its settings, in the groups of `own`",
    )
    parallel: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="trainings at once, each in a process of its own; `parallel` times `threads`"
        " should not exceed the CPU's cores, and a GPU is shared",
    )
    log: tuple[str, ...] = Field(
        default=(),
        description="where each training also puts its numbers while it runs: `jsonl` and "
        "`tensorboard` (files in its folder), `wandb`, `mlflow`, or a plug-in's name "
        "(docs/tracking.md)",
    )
    tracking: TrackingConfig = Field(
        default=TrackingConfig(), description="what the trackers of `log` write to"
    )
    tfcaf: str | None = Field(
        default=None,
        description="credit function for qllm or NAME+tfcaf: a source file, a certificate"
        " (.tfcaf.json), or a candidate's number in the run store",
    )
    init_from: str | None = Field(
        default=None,
        description="run whose networks `train` and `compare` begin with, such as `7`, `7.2@best` "
        "or `7@20k` (docs/trained.md)",
    )
    gate: GateChoice = Field(
        default=GateChoice(), description="how monotonicity in the agents' Qs is enforced"
    )
    sandbox: SandboxConfig = Field(
        default=SandboxConfig(), description="how candidates are caged and tested"
    )
    synth: SynthConfig = Field(
        default=SynthConfig(), description="how candidates are written and judged"
    )
    models: ModelsConfig = Field(
        default=ModelsConfig(), description="how language models are run (docs/models.md)"
    )

    @field_validator("tfcaf", "init_from", mode="before")
    @classmethod
    def _number_as_text(cls, value: Any) -> Any:
        if type(value) is float:  # 7.10 is another run than 7.1
            raise ValueError(f"write a training's number in quotes: '\"{value}\"'")
        return str(value) if type(value) is int else value

    @field_validator("seeds", "log", "algorithms")
    @classmethod
    def _each_once(cls, listed: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        if len(set(listed)) != len(listed):
            one = {"seeds": "a seed", "log": "a log", "algorithms": "an algorithm"}
            raise ValueError(f"{one[str(info.field_name)]} appears twice")
        return listed

    @field_validator("own", "variants")
    @classmethod
    def _own_groups(cls, own: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, tree in own.items():
            if not tree.keys() <= set(OWN_GROUPS):
                raise ValueError(f"{name} may have settings of {', '.join(OWN_GROUPS)} only")
        return own

    @model_validator(mode="after")
    def _pilots_apart(self) -> RunConfig:
        shared = sorted(set(self.seeds) & set(self.synth.pilot_seed_values()))
        if shared:
            raise ValueError(
                f"seeds {shared} belong to the pilots, and a comparison must not share seeds with"
                " the pilots that chose its function: choose other `seeds`, or change `synth.seed`"
            )
        return self

    def _trained(self) -> tuple[AlgorithmSettings, ...]:
        if self.variants:  # each of them is validated with its own settings
            return ()
        if not self.algorithms:
            return (self.algorithm,)
        names = [spelled_out(label)["name"] for label in self.algorithms]
        shared = [n for n in names if "rewards" not in self.own.get(n, {}).get("learner", {})]
        return tuple(map(algorithm_config, shared))

    def train_config(self) -> TrainConfig:
        """The part that the trainer reads."""
        own = {name: getattr(self, name) for name in TrainConfig.model_fields}
        return TrainConfig.model_construct(**own)  # each of them is validated

    def sandbox_for(self, card: TaskCard) -> SandboxConfig:
        """The sandbox's settings, with the largest batch that these trainings make of a task."""
        if self.sandbox.rows is not None:
            return self.sandbox
        trained = [self.for_training(label, 0) for label in self.labels]
        most = max(self.learner.batch_size, *(one.learner.batch_size for one in trained))
        rows = most * card.horizon
        for one in trained:
            if isinstance(one.algorithm, QllmConfig) and one.algorithm.maximum == "exhaustive":
                rows = max(rows, ROWS_AT_ONCE)
        return self.sandbox.model_copy(update={"rows": rows})

    @property
    def labels(self) -> tuple[str, ...]:
        """What is trained: labels of variants or of algorithms."""
        return tuple(self.variants) or self.algorithms or (self.algorithm.label,)

    @property
    def credited(self) -> bool:
        """Whether any of the trainings has a credit function."""
        return any(map(uses_credit, self.trained))

    @property
    def trained(self) -> tuple[str, ...]:
        """The label of each trained algorithm, in the order of `labels`."""
        return tuple(map(algorithm_of, self.variants.values())) or self.labels

    def for_training(self, label: str, seed: int) -> RunConfig:
        """The configuration of one seed's training of one algorithm or variant.

        Raises:
            ValidationError: what the algorithm has of its own does not fit.
        """
        several = self.algorithms or self.own or self.variants
        if label == self.algorithm.label and not several:
            return self.model_copy(update={"seeds": (seed,), "parallel": 1})
        variant = self.variants.get(label, {})
        named = variant.get("algorithm", spelled_out(label))
        own = laid_over(self.own.get(named["name"], {}), variant)
        same = self.algorithm.name == named["name"]
        settings = self.algorithm.model_dump(exclude={"tfcaf"}) if same else {}
        chosen = {
            "algorithm": {**settings, **own.get("algorithm", {}), **named},
            "algorithms": (),
            "variants": {},
            "own": {},
            "seeds": (seed,),
            "parallel": 1,
        }
        return RunConfig.model_validate({**laid_over(self.model_dump(), own), **chosen})
