"""All algorithms by name: a new one is a new file and a line in each place here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from marl.algorithms.base import Mixer, TaskSizes
from marl.algorithms.qllm import QllmConfig, make_qllm
from marl.algorithms.qmix import QmixConfig, make_qmix
from marl.algorithms.vdn import VdnConfig, make_vdn
from marl.errors import SettingsError, near_names

AlgorithmConfig = Annotated[VdnConfig | QmixConfig | QllmConfig, Field(discriminator="name")]
"""The settings of one algorithm; its ``name`` says which."""

ALGORITHMS: dict[str, type[VdnConfig] | type[QmixConfig] | type[QllmConfig]] = {
    "vdn": VdnConfig,
    "qmix": QmixConfig,
    "qllm": QllmConfig,
}


def algorithm_config(name: str) -> VdnConfig | QmixConfig | QllmConfig:
    """The default settings of the algorithm of this name.

    Raises:
        SettingsError: there is none; the message lists the near names.
    """
    if name not in ALGORITHMS:
        raise SettingsError(f"unknown algorithm '{name}': {near_names(name, ALGORITHMS)}")
    return ALGORITHMS[name]()


def make_mixer(
    config: VdnConfig | QmixConfig | QllmConfig, sizes: TaskSizes, credit: nn.Module | None = None
) -> Mixer:
    """The mixer that the settings ask for, initialised from torch's generator.

    Raises:
        SettingsError: QLLM without a credit function, or a credit function for anything else.
    """
    if isinstance(config, QllmConfig):
        return make_qllm(config, sizes, credit)
    if credit is not None:
        raise SettingsError(f"algorithm {config.name} takes no credit function; only qllm does")
    if isinstance(config, QmixConfig):
        return make_qmix(config, sizes)
    return make_vdn(config, sizes)
