"""What a name stands for: this package's own things, and those of other installed packages.

A package adds one by an entry point. Nothing of it is imported before somebody asks for its name or
goes through all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from marl.errors import SettingsError

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Things by name; iterating leaves out plug-ins that do not load.

    Args:
        group: of the entry points, such as ``qllm.algorithms``.
        noun: what a name stands for, in errors.
        own: this package's things.
        accept: makes a thing of a name and the object that its entry point leads to.

            Raises:
                ValueError: the object is not fit; the message goes on from the plug-in's name.
    """

    def __init__(
        self, group: str, noun: str, own: dict[str, T], accept: Callable[[str, Any], T]
    ) -> None:
        self.group, self.own = group, own
        self._noun, self._accept = noun, accept
        self._loaded = dict[str, T]()

    @cached_property
    def _plugins(self) -> dict[str, list[EntryPoint]]:
        return installed(self.group)

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._plugins

    def __getitem__(self, name: str) -> T:
        """The thing of this name.

        Raises:
            KeyError: there is none.
            SettingsError: it is a plug-in that does not load, or has a name that is taken.
        """
        points = self._plugins.get(name, [])
        if name in self.own:
            if points:
                raise SettingsError(
                    f"{self._noun} '{name}' is one of this package's own, and {_whose(points[0])} "
                    "registers another one under that name: uninstall or rename that"
                )
            return self.own[name]
        if len(points) > 1:
            whose = " and by ".join(sorted(map(_whose, points)))
            raise SettingsError(
                f"{self._noun} '{name}' is registered by {whose}: uninstall or rename one of them"
            )
        if name not in self._loaded:
            if not points:
                raise KeyError(name)
            self._loaded[name] = self._load(name, points[0])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        for name in [*self.own, *sorted(self._plugins.keys() - self.own.keys())]:
            try:
                self[name]
            except SettingsError:
                continue
            yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _load(self, name: str, point: EntryPoint) -> T:
        plugin = f"{self._noun} '{name}' of {_whose(point)}"
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001 - whatever somebody's module does
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise SettingsError(f"{plugin} does not load: {said}") from None
        try:
            return self._accept(name, found)
        except ValueError as error:
            raise SettingsError(f"{plugin} {error}") from None


def installed(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name; more than one where packages are at odds."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _whose(point: EntryPoint) -> str:
    package = "a package" if point.dist is None else f"package '{point.dist.name}'"
    return f"{package} ({point.value})"
