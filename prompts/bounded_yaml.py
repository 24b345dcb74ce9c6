"""YAML in bounded time and memory, whoever wrote it.

PyYAML follows any nesting with Python's own stack, lets an anchor stand for a hundred million
values, or for itself, and lets the last of two equal keys win. Here each of these is refused while
the document is read, before any value is made of it.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_DEPTH = 32
"""Levels of lists and mappings inside each other, aliases written out."""
MAX_VALUES = 50_000
"""Keys and values, aliases written out."""
MAX_DIGITS = 64
"""Characters of a number; what converts long ones takes time with the square of their length."""


def parse_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        ValueError: it is no YAML, or breaks a limit; one line, with the place.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"character {error.position}: {error.reason}") from None


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, node: Any) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0
        self._extents: dict[yaml.Node, tuple[int, int]] = {}
        """Of every node that is complete, its values and levels."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self._depth += 1
        self._count += 1
        self._require_bounded(self._count, self._depth, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node not in self._extents:
            if isinstance(event, yaml.AliasEvent):
                raise _Refused(f"'*{event.anchor}' is a part of itself", event)
            self._extents[node] = self._extent(node)
        return node

    def _extent(self, node: yaml.Node) -> tuple[int, int]:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _require_distinct(node)
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        values = 1 + sum(self._extents[part][0] for part in inner)
        levels = 1 + max((self._extents[part][1] for part in inner), default=0)
        self._require_bounded(values, levels, node)
        return values, levels

    def _require_bounded(self, values: int, levels: int, where: yaml.Event | yaml.Node) -> None:
        if values > MAX_VALUES:
            raise _Refused(f"more than {MAX_VALUES:,} values", where)
        if levels > MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep", where)

    def construct_scalar(self, node: Any) -> Any:
        numeric = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if numeric and len(node.value) > MAX_DIGITS:
            raise _Refused(f"a number of {len(node.value):,} characters", node)
        return super().construct_scalar(node)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
            kind = node.tag.rpartition(":")[2]  # such as a timestamp of the 13th month
            raise _Refused(f"'{node.value}' is no {kind}", node) from None


def _require_distinct(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused("a key must be a name", key)
        if key.value in seen:
            raise _Refused(f"'{key.value}' appears twice", key)
        seen.add(key.value)
