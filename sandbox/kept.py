"""What a candidate keeps from one call to the next: it may not change, as every call must be alike.

A graph is made of one call. Used only in the candidate's child.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, CellType, FunctionType, MethodType
from typing import Any

from sandbox.guards import CandidateError


class Kept:
    """All lists, dicts and the like that can be reached from some values, as they are now.

    Raises:
        CandidateError: one of them is an iterator, which every use changes.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._held: dict[int, tuple[Any, tuple[Any, ...]]] = {}
        left = list(values)
        while left:
            value = left.pop()
            if isinstance(value, Iterator):
                raise _changing("an iterator is used up by the first call; make a list of it")
            items = _items(value)
            if items is not None and id(value) not in self._held:
                self._held[id(value)] = value, items
                left.extend(items)

    def require_unchanged(self) -> None:
        """Compare with what is held now.

        Raises:
            CandidateError: something changed.
        """
        for value, before in self._held.values():
            now = _items(value) or ()
            if len(now) != len(before) or any(x is not y for x, y in zip(now, before, strict=True)):
                raise _changing("make it inside the function")


def _changing(remedy: str) -> CandidateError:
    return CandidateError(
        "export.state",
        "what is kept outside the function, such as a global list or the list of a default "
        f"argument, changes with its calls, but every call must be alike: {remedy}",
    )


def _items(value: Any) -> tuple[Any, ...] | None:
    """What a value holds; ``None`` where it holds nothing that a call could change."""
    if isinstance(value, (list, tuple, set)):
        return tuple(value)
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, FunctionType):
        named = value.__kwdefaults__ or {}
        return (*(value.__defaults__ or ()), *named.values(), *(value.__closure__ or ()))
    if isinstance(value, (BuiltinMethodType, MethodType)):
        return (value.__self__,)
    if isinstance(value, CellType):
        try:
            return (value.cell_contents,)
        except ValueError:  # nothing yet
            return ()
    return None
