"""The gate as a user sets it: decided, or left to a search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qllm.config.errors import ConfigError
from sandbox.config import GateConfig, GateMode, GateSettings


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
