"""All algorithms by name: a new one is a new file and a line in each place here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from marl.algorithms.base import Mixer, TaskSizes
from marl.algorithms.iql import IqlConfig, make_iql
from marl.algorithms.qatten import QattenConfig, make_qatten
from marl.algorithms.qllm import QllmConfig, make_qllm
from marl.algorithms.qmix import QmixConfig, make_qmix
from marl.algorithms.qplex import QplexConfig, make_qplex
from marl.algorithms.vdn import VdnConfig, make_vdn
from marl.errors import SettingsError, near_names

AnyConfig = IqlConfig | VdnConfig | QmixConfig | QattenConfig | QplexConfig | QllmConfig
"""The settings of one algorithm."""

AlgorithmConfig = Annotated[AnyConfig, Field(discriminator="name")]
"""The settings of one algorithm; its ``name`` says which."""

ALGORITHMS: dict[str, type[AnyConfig]] = {
    "iql": IqlConfig,
    "vdn": VdnConfig,
    "qmix": QmixConfig,
    "qatten": QattenConfig,
    "qplex": QplexConfig,
    "qllm": QllmConfig,
}


def algorithm_config(name: str) -> AnyConfig:
    """The default settings of the algorithm of this name.

    Raises:
        SettingsError: there is none; the message lists the near names.
    """
    if name not in ALGORITHMS:
        raise SettingsError(f"unknown algorithm '{name}': {near_names(name, ALGORITHMS)}")
    return ALGORITHMS[name]()


def make_mixer(config: AnyConfig, sizes: TaskSizes, credit: nn.Module | None = None) -> Mixer:
    """The mixer that the settings ask for, initialised from torch's generator.

    Raises:
        SettingsError: QLLM without a credit function, or a credit function for anything else.
    """
    if credit is not None and not isinstance(config, QllmConfig):
        raise SettingsError(f"algorithm {config.name} takes no credit function; only qllm does")
    match config:
        case IqlConfig():
            return make_iql(config, sizes)
        case VdnConfig():
            return make_vdn(config, sizes)
        case QmixConfig():
            return make_qmix(config, sizes)
        case QattenConfig():
            return make_qatten(config, sizes)
        case QplexConfig():
            return make_qplex(config, sizes)
        case QllmConfig():
            return make_qllm(config, sizes, credit)
