"""Stand-ins for damaged values of rows.

A store may come from elsewhere. Reading a row never fails for its contents: an impossible value is
replaced by a harmless one of the same type, which carries the reason, so that a reader can name the
damaged row and continue with the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Damaged:
    """Mark of a value that stands in for a damaged one."""

    why: str


class DamagedNumber(Damaged, float):
    """Zero, where a number was expected."""

    def __new__(cls, why: str) -> DamagedNumber:
        made = super().__new__(cls, 0.0)
        made.why = why
        return made


class DamagedCount(Damaged, int):
    """Zero, where a whole number was expected."""

    def __new__(cls, why: str) -> DamagedCount:
        made = super().__new__(cls, 0)
        made.why = why
        return made


class DamagedObject(Damaged, dict[str, Any]):
    """No keys, where a JSON object was expected."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


class DamagedList(Damaged, list[Any]):
    """Nothing, where a JSON list was expected."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.why = why


def damage_in(values: Iterable[tuple[str, object]]) -> list[str]:
    """What is wrong with a row's columns, such as ``config: no JSON``.

    Args:
        values: by name.
    """
    return [f"{name}: {value.why}" for name, value in values if isinstance(value, Damaged)]
