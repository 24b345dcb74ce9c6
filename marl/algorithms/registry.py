"""Make the algorithm that settings ask for."""

from __future__ import annotations

import importlib

from marl.algorithms.base import Algorithm, Build
from marl.errors import SettingsError
from marl.settings.algorithms import AlgorithmSettings
from marl.settings.registry import ALGORITHMS


def make_algorithm(build: Build) -> Algorithm:
    """The algorithm of ``build.config.algorithm``, its networks initialised from the seed.

    Raises:
        SettingsError: it does not fit the task, or a credit function is missing or out of place.
    """
    own = build.config.algorithm
    if build.credit is not None and not own.uses_credit:
        if own.credit == "optional":
            raise SettingsError(f"algorithm {own.name} takes a credit function as {own.name}+tfcaf")
        takers = [n for n in ALGORITHMS if ALGORITHMS[n].credit != "never"]
        raise SettingsError(
            f"algorithm {own.name} takes no credit function; these do: {', '.join(takers)}"
        )
    if build.credit is None and own.uses_credit:
        raise SettingsError(
            f"algorithm {own.label} needs a credit function: synthesise one first, or name a file "
            "or a candidate"
        )
    return algorithm_class(own)(build)


def algorithm_class(own: AlgorithmSettings) -> type[Algorithm]:
    """The class that implements an algorithm.

    Raises:
        SettingsError: it cannot be loaded.
    """
    module, _, name = own.implementation.partition(":")
    try:
        kind: type[Algorithm] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"algorithm {own.name}: '{own.implementation}' cannot be loaded: {error}"
        ) from None
    return kind
