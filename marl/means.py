"""Running means of named values, emptied whenever they are reported."""

from __future__ import annotations

from collections.abc import Mapping


class Means:
    """Means since the last `take`."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, int]] = {}

    def add(self, name: str, *values: float) -> None:
        """Count more values of ``name``."""
        for value in values:
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """The means by name; starts over."""
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state_dict(self) -> dict[str, tuple[float, int]]:
        """Sum and count by name."""
        return dict(self._sums)

    def load_state_dict(self, state: Mapping[str, tuple[float, int]]) -> None:
        """Continue where `state_dict` was taken."""
        self._sums = dict(state)
