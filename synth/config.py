"""Settings of a synthesis: how much is asked of the coder, and how its candidates are judged."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PILOT_SEED_BASE = 1_000_000
"""Pilot trainings draw their seeds from here upwards, far from what people type as ``--seeds``."""

_PILOT_SEED_STRIDE = 1_000

MEANINGFUL_UPDATES = 1_000
"""Below about so many gradient updates agents have hardly learned, and what ranks functions is
chance."""


class SynthConfig(BaseModel):
    """One synthesis: T rounds of K candidates, each repaired up to R times.

    The paper's authors use K = 3 and T = 3, and ask again for a failing candidate up to ten times
    without saying why; here the coder is told why, and fewer attempts are enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=3, ge=1, le=100, description="rounds (T): each ends in a selection")
    candidates: int = Field(default=3, ge=1, le=256, description="candidates a round (K)")
    repairs: int = Field(
        default=2, ge=0, le=20, description="times a rejected candidate may be corrected (R)"
    )
    memory: int = Field(
        default=3,
        ge=0,
        le=100,
        description="earlier rounds whose chosen function and advice the coder still sees",
    )
    coder: str = Field(
        default="auto",
        min_length=1,
        description="who writes: a registered model's name, 'sampler' (the embedded random program "
        "writer, not a language model), or 'auto' (a registered model if any, else the sampler)",
    )
    constraint: Literal["none", "grammar", "guided", "strict"] = Field(
        default="none",
        description="what a language model may write: 'none' anything, 'grammar' only programs "
        "that the sandbox's policy accepts, 'guided' typed expressions over the state's named "
        "parts, in which names are bound and shapes fit, for small models, 'strict' a narrow "
        "language for models that know nothing (docs/grammar.md)",
    )
    evaluator: Literal["measured", "llm", "llm+measured", "first"] = Field(
        default="measured",
        description="who selects: 'measured' trains the accepted candidates briefly with common "
        "seeds, 'llm' asks a language model as in the paper, 'llm+measured' lets it decide between "
        "functions that measure alike and give the advice, 'first' takes the first accepted one",
    )
    evaluator_model: str = Field(
        default="auto",
        min_length=1,
        description="language model that evaluates: a registered model's name, or 'auto' (the "
        "coder's)",
    )
    evaluator_attempts: int = Field(
        default=3, ge=1, le=20, description="times an evaluator is asked for a usable answer"
    )
    approve: Literal["auto", "human"] = Field(
        default="auto",
        description="'human' lets every selection wait for `qllm approve` or `qllm reject`",
    )
    start: tuple[str, ...] = Field(
        default=(),
        description="functions to start from: candidates' numbers or source files; the best of "
        "them counts as selected before the first round",
    )
    pilot_updates: int = Field(
        default=MEANINGFUL_UPDATES,
        ge=1,
        description="gradient updates of one pilot training, at one update an episode or more; its "
        "environment steps follow, but never exceed those of the training it chooses for",
    )
    pilot_steps: int | None = Field(
        default=None,
        ge=1,
        description="environment steps of one pilot training instead, at the training's own ratio "
        "of updates",
    )
    pilot_seeds: int = Field(
        default=3,
        ge=1,
        le=100,
        description="pilot trainings a candidate, each with its own seed; two tell hardly anything "
        "apart",
    )
    pilot_baseline: bool = Field(
        default=True, description="also pilot the plain sum of the agents' values (VDN) once"
    )
    halving: bool = Field(
        default=True,
        description="where a round has four functions or more to measure, train all of them for a "
        "part of the pilot's steps first, and only the better half further (successive halving)",
    )
    temperature: float = Field(
        default=0.8, ge=0, le=2, description="sampling temperature of the coder, where it has one"
    )
    begin_reply: bool = Field(
        default=False,
        description="begin the coder's replies with a block and the function's head, for small "
        "models that write about the code first; not for models that think, nor under a constraint",
    )
    max_tokens: int = Field(default=2_048, ge=64, description="most tokens in one reply")
    budget_tokens: int | None = Field(
        default=None,
        ge=1,
        description="tokens read and written by models after which no further request goes out",
    )
    budget_seconds: float | None = Field(
        default=None, gt=0, description="seconds after which no further request goes out"
    )
    budget_candidates: int | None = Field(
        default=None, ge=1, description="checked replies after which no further request goes out"
    )
    evaluator_temperature: float = Field(
        default=0.0, ge=0, le=2, description="sampling temperature of the evaluator"
    )
    prompts: str | None = Field(
        default=None,
        description="folder of prompt templates of your own; it may hold `coder/`, `evaluator/` "
        "and `shared/`",
    )
    seed: int = Field(default=0, ge=0, description="seed that every request's seed is derived from")

    def pilot_seed_values(self) -> tuple[int, ...]:
        """Seeds of the pilot trainings: the same for every candidate, so that scores are paired."""
        first = PILOT_SEED_BASE + _PILOT_SEED_STRIDE * self.seed
        return tuple(first + i for i in range(self.pilot_seeds))
