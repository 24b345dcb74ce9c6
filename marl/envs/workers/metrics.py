"""What an environment tells in its infos, as one value for each metric and episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from marl.envs.workers.spaces import number

_OVER_AGENTS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": lambda values: sum(values) / len(values),
    "sum": sum,
    "max": max,
    "min": min,
}
_MOST_NAMES = 100


class MetricRule(TypedDict):
    """A metric as a task card has it (`prompts.schema.MetricSpec`), in plain data."""

    name: str
    info: str
    take: str
    agents: str
    absent: float


def rule_of(metric: Any) -> MetricRule:
    """The rule in plain data of a card's metric."""
    return {
        "name": metric.name,
        "info": metric.info,
        "take": metric.take,
        "agents": metric.agents,
        "absent": metric.absent,
    }


class EpisodeMetrics:
    """The metrics of the episode in progress.

    Args:
        rules: the card's.
        row: float64 ``[len(rules)]``, kept up to date.
    """

    def __init__(self, rules: Sequence[MetricRule], row: NDArray[np.float64]) -> None:
        self._rules, self._row = rules, row
        self._told = [0] * len(rules)
        self.ever = [False] * len(rules)
        """Which of them any step of any episode told."""
        self.names: set[str] = set()
        """What the infos have, told or not, up to a hundred names."""

    def begin(self) -> None:
        """A new episode."""
        self._told = [0] * len(self._rules)
        self._row[...] = [rule["absent"] for rule in self._rules]

    def record(self, infos: Mapping[Any, Any]) -> None:
        """Take what a step tells."""
        if not self._rules:
            return
        if len(self.names) < _MOST_NAMES:
            for agent, info in infos.items():
                self.names.update(map(str, info) if isinstance(info, Mapping) else [str(agent)])
        for at, rule in enumerate(self._rules):
            value = _of_team(rule, infos)
            if value is not None:
                self._fold(at, rule["take"], value)

    def _fold(self, at: int, take: str, value: float) -> None:
        self._told[at] += 1
        self.ever[at] = True
        before, told = float(self._row[at]), self._told[at]
        if told > 1 and take == "sum":
            value = before + value
        elif told > 1 and take == "max":
            value = max(before, value)
        elif told > 1 and take == "mean":
            value = before + (value - before) / told
        self._row[at] = value


def _of_team(rule: MetricRule, infos: Mapping[Any, Any]) -> float | None:
    """A step's value: the infos' own, else that of the agents that tell it."""
    what, name = f"metric {rule['name']}: '{rule['info']}'", rule["info"]
    if name in infos and not isinstance(infos[name], Mapping):
        return number(what, infos[name])
    told = [
        number(f"{what} of {agent}", info[name])
        for agent, info in infos.items()
        if isinstance(info, Mapping) and name in info
    ]
    return _OVER_AGENTS[rule["agents"]](told) if told else None
