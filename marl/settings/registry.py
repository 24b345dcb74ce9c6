"""All algorithms by name: those of this package, and those of other installed packages.

A package adds one by an entry point of the group ``qllm.algorithms``, whose name is the algorithm's
and whose object is a subclass of `marl.settings.algorithms.AlgorithmSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from marl.errors import SettingsError, near_names
from marl.plugins import Registry
from marl.settings import algorithms as own
from marl.settings.algorithms import WITH_CREDIT, AlgorithmSettings

OWN: dict[str, type[AlgorithmSettings]] = {
    "iql": own.IqlConfig,
    "vdn": own.VdnConfig,
    "qmix": own.QmixConfig,
    "qatten": own.QattenConfig,
    "qplex": own.QplexConfig,
    "qllm": own.QllmConfig,
    "owqmix": own.OwqmixConfig,
    "cwqmix": own.CwqmixConfig,
    "qtran": own.QtranConfig,
    "coma": own.ComaConfig,
    "maddpg": own.MaddpgConfig,
    "facmac": own.FacmacConfig,
    "ippo": own.IppoConfig,
    "mappo": own.MappoConfig,
    "riit": own.RiitConfig,
    "maser": own.MaserConfig,
}


def _accepted(name: str, found: object) -> type[AlgorithmSettings]:
    if not (isinstance(found, type) and issubclass(found, AlgorithmSettings)):
        raise ValueError("is no subclass of AlgorithmSettings")
    called = found.model_fields["name"].default
    if called != name:
        raise ValueError(f"calls itself '{called}': give both the same name")
    return found


ALGORITHMS = Registry("qllm.algorithms", "algorithm", OWN, _accepted)


def algorithm_config(name: str) -> AlgorithmSettings:
    """The default settings of the algorithm of this name.

    Raises:
        SettingsError: there is none; the message lists the near names.
    """
    return _class_of(name)()


def _class_of(name: object) -> type[AlgorithmSettings]:
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise SettingsError(f"unknown algorithm '{name}': {near_names(str(name), ALGORITHMS)}")
    return ALGORITHMS[name]


def spelled_out(name: object) -> dict[str, Any]:
    """The settings that an algorithm's label stands for: ``riit+tfcaf`` is riit with tfcaf set."""
    if isinstance(name, str) and name.endswith(WITH_CREDIT):
        return {"name": name.removesuffix(WITH_CREDIT), "tfcaf": True}
    return {"name": name}


def uses_credit(label: str | None) -> bool:
    """Whether the algorithm of this label trains with a credit function."""
    name = spelled_out(label)["name"]
    if name not in ALGORITHMS:
        return False
    return name != label or ALGORITHMS[name].credit == "required"


def _typed(value: Any) -> Any:
    """Settings of the class that their name says; errors inside keep their place."""
    if isinstance(value, Mapping) and "name" in value:
        return _class_of(value["name"]).model_validate(value)
    return value


AlgorithmConfig = Annotated[SerializeAsAny[AlgorithmSettings], BeforeValidator(_typed)]
"""The settings of one algorithm; its ``name`` says which."""
