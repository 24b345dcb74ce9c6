"""Settings of a synthesis: how much is asked of the coder, and how its candidates are judged."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

PILOT_SEED_BASE = 1_000_000
"""Pilot trainings draw their seeds from here upwards, far from what people type as ``--seeds``."""

_PILOT_SEED_STRIDE = 1_000


class SynthConfig(BaseModel):
    """One synthesis: T rounds of K candidates, each repaired up to R times.

    The paper's authors use K = 3 and T = 3, and ask again for a failing candidate up to ten times
    without saying why; here the coder is told why, and fewer attempts are enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=2, ge=1, le=100, description="rounds (T): each ends in a selection")
    candidates: int = Field(default=4, ge=1, le=256, description="candidates a round (K)")
    repairs: int = Field(
        default=2, ge=0, le=20, description="times a refused candidate may be corrected (R)"
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
    evaluator: Literal["measured", "first"] = Field(
        default="measured",
        description="who selects: 'measured' trains the accepted candidates briefly with common "
        "seeds, 'first' takes the first accepted one",
    )
    pilot_steps: int = Field(
        default=5_000, ge=1, description="environment steps of one pilot training"
    )
    pilot_seeds: int = Field(
        default=2, ge=1, le=100, description="pilot trainings a candidate, each with its own seed"
    )
    pilot_baseline: bool = Field(
        default=True, description="also pilot the plain sum of the agents' values (VDN) once"
    )
    temperature: float = Field(
        default=0.8, ge=0, le=2, description="sampling temperature of the coder, where it has one"
    )
    max_tokens: int = Field(default=2_048, ge=64, description="most tokens in one reply")
    seed: int = Field(default=0, ge=0, description="seed that every request's seed is derived from")

    def pilot_seed_values(self) -> tuple[int, ...]:
        """Seeds of the pilot trainings: the same for every candidate, so that scores are paired."""
        first = PILOT_SEED_BASE + _PILOT_SEED_STRIDE * self.seed
        return tuple(first + i for i in range(self.pilot_seeds))
