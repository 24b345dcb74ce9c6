"""From a card's file to plain data: families, templates, and blocks that repeat.

Cards of one family share a *template*, a Jinja2 file (``NAME.yaml.j2``) beside them or in a folder
of the shipped cards. Such a card holds two entries and nothing else::

    template: foraging
    with: {size: 8, players: 2, foods: 2}

Columns that repeat (for each agent its velocity and position, for each food its place and level)
are written once, as a *block* among the slices of ``state``::

    - for_each: agent            # n_agents times; another word needs a `count`
      slices:
        - {name: velocity, shape: [2], ...}
        - {name: position, shape: [2], ...}

which stands for ``agent0_velocity``, ``agent0_position``, ``agent1_velocity`` and so on, in that
order. The slices of an ``agent`` block know their agent (`StateSlice.agent`); in their meanings,
``{i}`` is the number of the turn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompts.bounded_yaml import parse_yaml
from prompts.files import read_bytes

TEMPLATE_SUFFIX = ".yaml.j2"
MAX_BYTES = 1 << 18
"""Of a card's file or template, and of the text that a template gives."""
MAX_TURNS = 256
MAX_SLICES = 4096
"""Slices of a state, blocks written out."""

_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_WORD = re.compile(r"[a-z][a-z_]*")


class ExpansionError(ValueError):
    """A card's file does not have the form described here."""


def read_card_data(path: Path, values: Mapping[str, int], shipped: Path) -> dict[str, Any]:
    """The mapping that a card's file stands for, templates filled in and blocks written out.

    Args:
        path: the card's file.
        values: the parameters in a family's file name; where there are any, the file is a template.
        shipped: where templates are looked for after the card's own folder.

    Raises:
        OSError, ValueError: it cannot be read, or breaks a rule.
    """
    text = _text(path)
    data = _mapping(_fill(text, values) if values else text)
    if "template" in data:
        data = _filled(data, path, shipped)
    state = data.get("state")
    if isinstance(state, list):
        data = {**data, "state": _written_out(state, data.get("n_agents"))}
    return data


def _text(path: Path) -> str:
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ExpansionError(f"byte {error.start} is no UTF-8 text") from None


def _mapping(text: str) -> dict[str, Any]:
    data = parse_yaml(text)
    if not isinstance(data, dict):
        raise ExpansionError("needs a mapping at the top")
    return data


def _filled(data: dict[str, Any], path: Path, shipped: Path) -> dict[str, Any]:
    extra = sorted(set(map(str, data)) - {"template", "with"})
    if extra:
        raise ExpansionError(
            f"a card with a template has only 'template' and 'with', this one has {extra[0]!r} too"
        )
    name, values = data["template"], data.get("with", {})
    if not isinstance(name, str) or not _TEMPLATE_NAME.fullmatch(name):
        raise ExpansionError(f"template {name!r}: needs the name of a template, such as foraging")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ExpansionError("'with' needs a mapping from the template's parameters to values")
    places = [folder / (name + TEMPLATE_SUFFIX) for folder in (path.parent, shipped)]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise ExpansionError(
            f"no template '{name}': there is no file {' or '.join(map(repr, map(str, places)))}"
        )
    try:
        return _mapping(_fill(_text(found), values))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ExpansionError(f"template '{name}': {reason}") from None


def _fill(text: str, values: Mapping[str, Any]) -> str:
    from prompts.filling import fill  # with Jinja2, which most cards do not need

    return fill(text, values, MAX_BYTES)


def _written_out(state: list[Any], n_agents: object) -> list[Any]:
    slices = []
    for entry in state:
        if isinstance(entry, dict) and "for_each" in entry:
            slices += _turns(entry, n_agents)
        else:
            slices.append(entry)
        _require_few(len(slices))
    return slices


def _require_few(slices: int) -> None:
    if slices > MAX_SLICES:
        raise ExpansionError(f"a state of more than {MAX_SLICES:,} slices")


def _turns(block: dict[str, Any], n_agents: object) -> list[dict[str, Any]]:
    word, inner = block["for_each"], block.get("slices")
    if not isinstance(word, str) or not _WORD.fullmatch(word):
        raise ExpansionError(f"for_each {word!r}: needs one lower-case word, such as agent")
    extra = sorted(set(map(str, block)) - {"for_each", "count", "slices"})
    if extra:
        raise ExpansionError(f"for_each {word}: unknown entry {extra[0]!r}")
    of_agents = word == "agent"
    count = block.get("count", n_agents if of_agents else None)
    if of_agents and count != n_agents:
        raise ExpansionError(f"for_each agent: its count is n_agents, {n_agents}; leave it out")
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_TURNS:
        raise ExpansionError(f"for_each {word}: needs a count from 1 to {MAX_TURNS}")
    if not isinstance(inner, list) or not all(
        isinstance(s, dict) and isinstance(s.get("name"), str) for s in inner
    ):
        raise ExpansionError(f"for_each {word}: needs a list of slices, each with a name")
    _require_few(count * len(inner))
    written = []
    for i in range(count):
        for s in inner:
            one = {**s, "name": f"{word}{i}_{s['name']}"}
            if isinstance(s.get("meaning"), str):
                one["meaning"] = s["meaning"].replace("{i}", str(i))
            written.append(one | {"agent": i} if of_agents else one)
    return written
