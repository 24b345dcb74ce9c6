"""Views: groups of state columns that a program can slice out and name, read from the task card."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prompts.cards import StateSlice, TaskCard

Axis = Literal["agents", "entities", "team"]
"""Axis of a view's columns: the agents, other things of one kind, or one column only."""

_SPATIAL = re.compile(r"pos|vel|loc|coord|place|direction")
_LABELS = re.compile(
    r"\(([a-z]\w*(?:\s*(?:,|and)\s*(?:and\s+)?[a-z]\w*)+)\)|\b(x, y(?:,? and \w+)?)"
)


@dataclass(frozen=True)
class View:
    """Columns of one component of a slice, ``count`` of them, evenly spaced."""

    name: str
    """A Python identifier in the card's words."""
    start: int
    step: int
    count: int
    axis: Axis
    slice: StateSlice

    @property
    def code(self) -> str:
        """The expression that slices it out of ``state``: [B, count]."""
        stop = self.start + (self.count - 1) * self.step + 1
        stride = f":{self.step}" if self.step > 1 and self.count > 1 else ""
        return f"state[:, {self.start}:{stop}{stride}]"

    @property
    def discrete(self) -> bool:
        """Whether comparing for equality makes sense."""
        return self.slice.kind != "real"

    @property
    def categorical(self) -> bool:
        """Whether the values are names, so that more and less of them mean nothing."""
        return self.slice.kind == "integer" and "action" in self.slice.name

    @property
    def ordinary(self) -> tuple[int, int]:
        """Smallest and largest whole number of the ordinary range."""
        return math.ceil(self.slice.low), math.floor(self.slice.high)

    @property
    def stray(self) -> tuple[float, ...]:
        """Sentinels that lie outside the ordinary range."""
        return tuple(s for s in self.slice.sentinels if not self.slice.low <= s <= self.slice.high)

    @property
    def constant(self) -> bool:
        """Whether the ordinary range holds one value only."""
        return self.slice.low == self.slice.high


@dataclass(frozen=True)
class Component:
    """The views that one slice offers, made when asked for: a slice may have thousands."""

    slice: StateSlice
    offset: int

    @property
    def per_agent(self) -> bool:
        """Whether its views run over the agents."""
        return self.slice.agent_axis is not None

    @property
    def axis(self) -> Axis:
        """Axis of its views."""
        if self.per_agent:
            return "agents"
        return "team" if self._count == 1 else "entities"

    @property
    def number(self) -> int:
        """Number of views."""
        return self.slice.size // self._count

    @property
    def _count(self) -> int:
        shape = self.slice.shape
        if self.slice.agent_axis is not None:
            return shape[self.slice.agent_axis]
        # One axis: the entries are the entities. More: the last axis holds each one's features.
        return shape[0] if len(shape) == 1 else math.prod(shape[:-1])

    @property
    def _step(self) -> int:
        shape, axis = self.slice.shape, self.slice.agent_axis
        if axis is not None:
            return math.prod(shape[axis + 1 :])
        return 1 if len(shape) == 1 else shape[-1]

    def view(self, index: int) -> View:
        """The ``index``-th view."""
        inner = self._step  # entries of the axes behind the one that the view runs over
        outer, rest = divmod(index, inner)
        start = self.offset + outer * self._count * inner + rest
        return View(self._name(index), start, inner, self._count, self.axis, self.slice)

    def column(self, index: int) -> View:
        """A single column of the slice, as a team view."""
        name, rest = "", index
        for size in reversed(self.slice.shape if self.slice.size > 1 else ()):
            rest, place = divmod(rest, size)
            name = f"_{place}{name}"
        return View(self.slice.name + name, self.offset + index, 1, 1, "team", self.slice)

    def _name(self, index: int) -> str:
        if self.number == 1:
            return self.slice.name
        labels = component_labels(self.slice, self.number)
        return f"{self.slice.name}_{labels[index]}"


def component_labels(s: StateSlice, number: int) -> Sequence[str]:
    """Names of a slice's components: from its meaning where it lists them, else x and y, else 0..

    A meaning such as "where it stands and how strong it is (x, y, level)" lists three.
    """
    for found in _LABELS.finditer(s.meaning):
        words = re.findall(r"[a-z]\w*", (found[1] or found[2]).replace(" and ", ", "))
        if len(words) == number and len(set(words)) == number:
            return words
    if number in (2, 3) and _SPATIAL.search(s.name):
        return "xyz"[:number]
    return [str(i) for i in range(number)]


@dataclass(frozen=True)
class Space:
    """A pair of views that are coordinates of the same things."""

    x: View
    y: View

    @property
    def size(self) -> float:
        """The larger of the two ranges."""
        return max(self.x.slice.high - self.x.slice.low, self.y.slice.high - self.y.slice.low)


@dataclass(frozen=True)
class Views:
    """Everything a program can read in the states of one task."""

    agents: tuple[Component, ...]
    others: tuple[Component, ...]
    agent_places: tuple[Space, ...]
    other_places: tuple[Space, ...]


def read_views(card: TaskCard) -> Views:
    """The views that a card's state offers; slices that are unused or constant are left out."""
    components = [
        Component(s, at)
        for s, at in card.offsets()
        if not s.unused and (s.low < s.high or s.sentinels)
    ]
    agents = tuple(c for c in components if c.per_agent)
    others = tuple(c for c in components if not c.per_agent)
    return Views(agents, others, _places(agents), _places(others))


def _places(components: Sequence[Component]) -> tuple[Space, ...]:
    """Slices whose first two components are coordinates, as their labels say."""
    spaces = []
    for c in components:
        spatial = c.axis != "team" and 2 <= c.number <= 8 and c.slice.kind != "onehot"
        if not spatial or "vel" in c.slice.name:
            continue
        if list(component_labels(c.slice, c.number)[:2]) in (["x", "y"], ["row", "column"]):
            spaces.append(Space(c.view(0), c.view(1)))
    return tuple(spaces)
