"""How the columns of a slice move when agents change places."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence


def other_places(agent: int, order: Sequence[int]) -> list[int]:
    """For each other of ``agent``, in order: its place among the others of ``order[agent]``.

    The others of an agent are all agents but itself, by their numbers.
    """
    source = order[agent]
    before = [j for j in range(len(order)) if j != source]
    return [before.index(order[j]) for j in range(len(order)) if j != agent]


def rearranged(
    start: int, shape: Sequence[int], axis: int | None, places: Sequence[int]
) -> Iterator[int]:
    """Columns of a row-major slice from ``start``, entry i of ``axis`` taken from ``places[i]``."""
    for indices in itertools.product(*map(range, shape)):
        column = 0
        for dimension, (index, size) in enumerate(zip(indices, shape, strict=True)):
            column = column * size + (places[index] if dimension == axis else index)
        yield start + column
