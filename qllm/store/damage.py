"""Stand-ins for damaged values of rows.

A store may come from elsewhere. Reading a row never fails for its contents: an impossible value is
replaced by a harmless one of the same type, which carries the reason, so that a reader can name the
damaged row and continue with the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self


class Damaged:
    """Mark of a placeholder for a damaged value."""

    why = ""

    @classmethod
    def of(cls, why: str) -> Self:
        """The stand-in with the reason of the damage."""
        made = cls()
        made.why = why
        return made


class DamagedNumber(Damaged, float):
    """Zero, where a number was expected."""


class DamagedCount(Damaged, int):
    """Zero, where a whole number was expected."""


class DamagedObject(Damaged, dict[str, Any]):
    """No keys, where a JSON object was expected."""


class DamagedList(Damaged, list[Any]):
    """Nothing, where a JSON list was expected."""


def damage_in(values: Iterable[tuple[str, object]]) -> list[str]:
    """Damage of a row's columns, such as ``config: no JSON``.

    Args:
        values: by name.
    """
    return [f"{name}: {value.why}" for name, value in values if isinstance(value, Damaged)]
