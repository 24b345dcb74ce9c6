"""Named views of the state: what a credit function may take as parameters besides ``state``.

A view is a slice of the state by its name, or a field that several things have, stacked over them:
``agent0_position``, ``agent1_position``, ... are together ``agent_position`` [B, n_agents, 2], and
``food0_level``, ``food1_level``, ... are ``food_level`` [B, foods]. A field of one column a thing
loses its last axis when it is stacked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prompts.cards import TaskCard
from prompts.schema import StateSlice

_MEMBER = re.compile(r"([a-z]+)(\d+)_(\w+)")


@dataclass(frozen=True)
class StateView:
    """Columns of the state under one name."""

    name: str
    shape: tuple[int, ...]
    """Without the batch: [B, *shape]."""
    axes: tuple[str, ...]
    """What each axis of the shape runs over, such as ``agents``; empty where nothing says it."""
    starts: tuple[int, ...]
    """The first column of each member; one for a plain slice."""
    member: StateSlice
    """The slice, or the first of those that are stacked."""
    stacked: bool

    @property
    def shape_text(self) -> str:
        """The shape with its axes' names, such as ``[B, 2 agents, 2]``."""
        parts = [f"{n} {axis}".strip() for n, axis in zip(self.shape, self.axes, strict=True)]
        return f"[{', '.join(['B', *parts])}]"

    @property
    def meaning(self) -> str:
        """What the numbers mean; of a stacked field, what they mean for each member."""
        if not self.stacked:
            return self.member.meaning
        things = "|".join(("agent", "player", "predator", self.name.partition("_")[0]))
        return re.sub(rf"\b({things}) 0\b", r"each \1", self.member.meaning)


def state_views(card: TaskCard) -> dict[str, StateView]:
    """The views that a prompt shows: every column that varies once, stacked where it can be."""
    members = _members(card)
    stacked = {start for view in members.values() for start in view.starts}
    views: dict[str, StateView] = {}
    for s, at in card.offsets():
        match = _MEMBER.fullmatch(s.name)
        if at not in stacked:
            views[s.name] = _plain(s, at)
        elif match is not None:
            name = f"{match[1]}_{match[3]}"
            views.setdefault(name, members[name])
    return {k: v for k, v in views.items() if v.member.interval[0] < v.member.interval[1]}


def all_views(card: TaskCard) -> dict[str, StateView]:
    """The views that a function may name: those of `state_views` first, then every slice's own.

    An unused slice is no view.
    """
    plain = {s.name: _plain(s, at) for s, at in card.offsets() if not s.unused}
    stacked = {k: v for k, v in _members(card).items() if not v.member.unused}
    return {**state_views(card), **stacked, **plain}


def _plain(s: StateSlice, at: int) -> StateView:
    axes = ["" for _ in s.shape]
    if s.agent_axis is not None:
        axes[s.agent_axis] = "agents"
    if s.others_axis is not None:
        axes[s.others_axis] = "others"
    return StateView(s.name, s.shape, tuple(axes), (at,), s, stacked=False)


def _members(card: TaskCard) -> dict[str, StateView]:
    """Fields of numbered things that can be stacked: all members there, and all alike."""
    groups: dict[str, list[tuple[int, StateSlice, int]]] = {}
    for s, at in card.offsets():
        match = _MEMBER.fullmatch(s.name)
        if match is not None:
            groups.setdefault(f"{match[1]}_{match[3]}", []).append((int(match[2]), s, at))
    taken = {s.name for s in card.state}
    return dict(_stacked(card, {k: v for k, v in groups.items() if k not in taken}))


def _stacked(
    card: TaskCard, groups: dict[str, list[tuple[int, StateSlice, int]]]
) -> Iterator[tuple[str, StateView]]:
    for name, found in groups.items():
        first = found[0][1]
        numbers = [number for number, _, _ in found]
        alike = all(_form(s) == _form(first) for _, s, _ in found)
        complete = len(found) > 1 and numbers == list(range(len(found)))
        agents = first.agent is not None
        if not alike or not complete or (agents and len(found) != card.n_agents):
            continue
        plain = _plain(first, found[0][2])
        shape, axes = (plain.shape, plain.axes) if first.size > 1 else ((), ())
        things = "agents" if agents else f"{name.partition('_')[0]}s"
        starts = tuple(at for _, _, at in found)
        yield (
            name,
            StateView(name, (len(found), *shape), (things, *axes), starts, first, stacked=True),
        )


def _form(s: StateSlice) -> Sequence[object]:
    return (s.shape, s.kind, s.unused, s.agent_axis, s.others_axis, s.agent is None)
