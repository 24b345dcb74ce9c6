"""Numbers of runs: 7 is a run, 7.2 the second one that belongs to it.

A run's id holds its whole number, ``7 * BELOW + 2``, so that the number of any run is known without
the store, and whole runs count 1, 2, 3. In stores of the first versions every training has a plain
number of its own, which it keeps.
"""

from __future__ import annotations

import re

BELOW = 1_000_000
"""More runs than belong to one."""

LARGEST = 2**63 - 1
_NUMBER = re.compile(r"[1-9][0-9]{0,18}(\.[1-9][0-9]{0,5}){0,2}")


def run_name(run_id: int) -> str:
    """The displayed number of a run: ``7``, or ``7.2``."""
    above, place = divmod(run_id, BELOW)
    return f"{run_name(above)}.{place}" if above > 0 and place else str(run_id)


def places(run_id: int) -> tuple[int, ...]:
    """Sort key of numbers: a run, those that belong to it, the next run."""
    return tuple(map(int, run_name(run_id).split(".")))


def run_id_of(text: str) -> int | None:
    """The id of the run with this number (or id); None where it is no number."""
    if not _NUMBER.fullmatch(text):
        return None
    first, *places = map(int, text.split("."))
    for place in places:
        first = first * BELOW + place
    return first if first <= LARGEST else None


def ids_below(parent_id: int | None) -> range:
    """The ids that runs of a run may have; those of whole runs for None."""
    start = 0 if parent_id is None else parent_id * BELOW
    return range(start + 1, start + BELOW)
