"""Views: what a program can read of the state, by the names of its parts on the task card."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prompts.cards import StateSlice, TaskCard
from prompts.views import StateView
from synth.grammar.vocabulary import named_views

Axis = Literal["agents", "entities", "team"]
"""Axis of a view's numbers: the agents, other things of one kind, or one number only."""

_SPATIAL = re.compile(r"pos|vel|loc|coord|place|direction")
_MOVES = re.compile(r"vel|direction|speed")
_RELATIVE = re.compile(r"\b(minus|relative)\b")
_LABELS = re.compile(
    r"\(([a-z]\w*(?:\s*(?:,|and)\s*(?:and\s+)?[a-z]\w*)+)\)|\b(x, y(?:,? and \w+)?)"
)


@dataclass(frozen=True)
class View:
    """Numbers of one kind out of a part of the state: one for each agent or thing."""

    name: str
    """A Python identifier in the card's words."""
    part: Part
    index: tuple[str, ...]
    """What is taken of each of the part's axes, as source text."""
    count: int
    """Numbers along the view's axis."""
    axis: Axis

    @property
    def code(self) -> str:
        """The expression that takes it out of its part: [B, count]."""
        kept = max((at for at, taken in enumerate(self.index, 1) if taken != ":"), default=0)
        return f"{self.part.name}[:, {', '.join(self.index[:kept])}]" if kept else self.part.name

    @property
    def slice(self) -> StateSlice:
        """Kind, range and special values of its numbers."""
        return self.part.slice

    @property
    def discrete(self) -> bool:
        """Whether comparing for equality makes sense."""
        return self.slice.kind != "real"

    @property
    def categorical(self) -> bool:
        """Whether the values are names, so that more and less of them mean nothing."""
        return self.slice.kind == "integer" and "action" in self.part.name

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
class Part:
    """A part of the state by its name, a program's parameter: [B, *shape].

    The views that it offers are made when asked for: there may be thousands.
    """

    known: StateView
    slice: StateSlice
    """Kind, range and special values; of a stacked field, those of all its members together."""

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.known.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the batch."""
        return self.known.shape

    @property
    def per_agent(self) -> bool:
        """Whether its views run over the agents."""
        return "agents" in self.known.axes

    @property
    def axis(self) -> Axis:
        """Axis of its views."""
        if self.per_agent:
            return "agents"
        return "team" if self._along is None or self.shape[self._along] == 1 else "entities"

    @property
    def number(self) -> int:
        """Number of views."""
        along = self._along
        return self.size if along is None else self.size // self.shape[along]

    @property
    def size(self) -> int:
        """Number of state columns."""
        return math.prod(self.shape)

    @property
    def places(self) -> bool:
        """Whether the last axis begins with two coordinates of a place, as its labels say."""
        width = self.shape[-1] if not self.known.axes[-1] else 0
        if not 2 <= width <= 8 or self.slice.kind == "onehot" or _MOVES.search(self.name):
            return False
        return list(self._labels[:2]) in (["x", "y"], ["row", "column"])

    @property
    def relative(self) -> bool:
        """Whether its places are seen from each agent."""
        return self.per_agent and _RELATIVE.search(self.known.meaning) is not None

    @property
    def of_agents(self) -> bool:
        """Whether it is about the agents, and not about a thing that each of them sees."""
        return self.per_agent and (not self.known.stacked or "each " in self.known.meaning)

    @property
    def _along(self) -> int | None:
        """The axis that a view runs over; ``None`` for the coordinates of a single thing."""
        if self.per_agent:
            return self.known.axes.index("agents")
        return None if len(self.shape) == 1 and self.places else 0

    @property
    def _labels(self) -> Sequence[str]:
        """Names of what lies on the last axis."""
        return component_labels(self.name, self.known.meaning, self.shape[-1])

    def view(self, index: int) -> View:
        """The ``index``-th view."""
        along = self._along
        if along is None:
            return self.column(index)
        at = _place(index, [1 if k == along else size for k, size in enumerate(self.shape)])
        taken = tuple(":" if k == along else str(i) for k, i in enumerate(at))
        return View(self._called(at, along), self, taken, self.shape[along], self.axis)

    def column(self, index: int) -> View:
        """A single column of the part, as a team view."""
        at, along = _place(index, self.shape), self._along or 0
        taken = tuple(f"{i}:{i + 1}" if k == along else str(i) for k, i in enumerate(at))
        return View(self._called(at), self, taken if self.size > 1 else (":",), 1, "team")

    def seen(self, coordinate: int) -> View:
        """A coordinate of places that are seen from each agent: [B, n_agents, things]."""
        name = f"{self.name}_{self._labels[coordinate]}"
        if len(self.shape) == 2:
            taken = (":", f"{coordinate}:{coordinate + 1}")
            return View(name, self, taken, 1, "agents")
        return View(name, self, (":", ":", str(coordinate)), self.shape[1], "agents")

    def _called(self, at: Sequence[int], along: int | None = None) -> str:
        words = [self.name]
        for k, (i, size) in enumerate(zip(at, self.shape, strict=True)):
            if k != along and size > 1:
                named = k == len(self.shape) - 1 and not self.known.axes[k]
                words.append(self._labels[i] if named else str(i))
        return "_".join(words)


def _place(index: int, shape: Sequence[int]) -> list[int]:
    """Place of the ``index``-th entry, row-major."""
    at = []
    for size in reversed(shape):
        index, i = divmod(index, size)
        at.append(i)
    return at[::-1]


def component_labels(name: str, meaning: str, number: int) -> Sequence[str]:
    """Names of a part's components: from its meaning where it lists them, else x and y, else 0..

    A meaning such as "where it stands and how strong it is (x, y, level)" lists three.
    """
    for found in _LABELS.finditer(meaning):
        words = re.findall(r"[a-z]\w*", (found[1] or found[2]).replace(" and ", ", "))
        if len(words) == number and len(set(words)) == number:
            return words
    if number in (2, 3) and _SPATIAL.search(name):
        return "xyz"[:number]
    return [str(i) for i in range(number)]


@dataclass(frozen=True)
class Space:
    """A pair of views that are coordinates of the same things."""

    x: View
    y: View

    @property
    def name(self) -> str:
        """What stands there, in the card's words: ``food`` for ``food_position``."""
        name = self.x.part.name.removesuffix("_position")
        return name.removeprefix("agent_") if self.seen else name

    @property
    def seen(self) -> bool:
        """Whether they are seen from each agent: [B, n_agents, things]."""
        return self.x.part.relative

    @property
    def others(self) -> bool:
        """Whether the things are the other agents."""
        return "others" in self.x.part.known.axes

    @property
    def size(self) -> float:
        """The larger of the two ranges."""
        return max(self.x.slice.high - self.x.slice.low, self.y.slice.high - self.y.slice.low)


@dataclass(frozen=True)
class Views:
    """Everything a program can read in the states of one task."""

    agents: tuple[Part, ...]
    others: tuple[Part, ...]
    agent_places: tuple[Space, ...]
    other_places: tuple[Space, ...]
    seen_places: tuple[Space, ...]
    """Places of things as seen from each agent: [B, n_agents, things]."""


def read_views(card: TaskCard) -> Views:
    """The views that a card's state offers; parts that are unused or constant are left out."""
    parts = [Part(view, _together(card, view)) for view in named_views(card).values()]
    agents = tuple(p for p in parts if p.per_agent)
    others = tuple(p for p in parts if not p.per_agent)
    own = [p for p in agents if p.places and p.of_agents and len(p.shape) == 2 and not p.relative]
    seen = [p for p in agents if p.places and p.relative and len(p.shape) in (2, 3)]
    return Views(
        agents,
        others,
        tuple(Space(p.view(0), p.view(1)) for p in own),
        tuple(Space(p.view(0), p.view(1)) for p in others if p.places and len(p.shape) < 3),
        tuple(Space(p.seen(0), p.seen(1)) for p in seen if p.known.axes[0] == "agents"),
    )


def _together(card: TaskCard, view: StateView) -> StateSlice:
    """The view's slice; of a stacked field, with the range and special values of all members."""
    members = [card.column(start)[0] for start in view.starts]
    special = dict.fromkeys(x for s in members for x in s.sentinels)
    return view.member.model_copy(
        update={
            "low": min(s.low for s in members),
            "high": max(s.high for s in members),
            "sentinels": tuple(special),
            "sentinel_meaning": next((s.sentinel_meaning for s in members if s.sentinels), ""),
        }
    )
