"""All algorithms by name: those of this package, and those of other installed packages.

A package adds one by an entry point of the group ``qllm.algorithms``, whose name is the algorithm's
and whose object is a subclass of `marl.settings.algorithms.AlgorithmSettings`. Nothing of it is
imported before somebody asks for its name or for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from marl.errors import SettingsError, near_names
from marl.settings import algorithms as own
from marl.settings.algorithms import WITH_CREDIT, AlgorithmSettings

GROUP = "qllm.algorithms"

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


class Algorithms(Mapping[str, type[AlgorithmSettings]]):
    """Settings classes by the algorithm's name; iterating leaves out plug-ins that do not load."""

    def __init__(self) -> None:
        self._loaded = dict(OWN)

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def __contains__(self, name: object) -> bool:
        return name in self._loaded or name in self._plugins

    def __getitem__(self, name: str) -> type[AlgorithmSettings]:
        """The settings class.

        Raises:
            KeyError: there is no such algorithm.
            SettingsError: it is a plug-in that does not load, or has a name that is taken.
        """
        if name in self._plugins and name in OWN:
            raise SettingsError(
                f"algorithm '{name}' is one of this package's own, and {self._whose(name)} "
                "registers another one under that name: uninstall or rename that"
            )
        if name not in self._loaded:
            self._loaded[name] = self._load(name, self._plugins[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        for name in [*OWN, *sorted(self._plugins.keys() - OWN.keys())]:
            try:
                self[name]
            except SettingsError:
                continue
            yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _whose(self, name: str) -> str:
        point = self._plugins[name]
        package = "a package" if point.dist is None else f"package '{point.dist.name}'"
        return f"{package} ({point.value})"

    def _load(self, name: str, point: EntryPoint) -> type[AlgorithmSettings]:
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001 - whatever somebody's module does
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise SettingsError(
                f"algorithm '{name}' of {self._whose(name)} does not load: {said}"
            ) from None
        if not (isinstance(found, type) and issubclass(found, AlgorithmSettings)):
            raise SettingsError(
                f"algorithm '{name}' of {self._whose(name)} is no subclass of AlgorithmSettings"
            )
        if found.model_fields["name"].default != name:
            raise SettingsError(
                f"algorithm '{name}' of {self._whose(name)} calls itself "
                f"'{found.model_fields['name'].default}': give both the same name"
            )
        return found


ALGORITHMS = Algorithms()


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
