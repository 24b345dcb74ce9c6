"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """``values`` as at most ``width`` bars between their own lowest and highest.

    What is not finite leaves a gap. More values than bars are averaged in even groups.
    """
    cells = [_mean(group) for group in _groups(values, width)]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = high - low or 1.0
    top = len(_BARS) - 1
    flat = high == low
    return "".join(
        " " if cell is None else _BARS[3 if flat else round((cell - low) / span * top)]
        for cell in cells
    )


def _groups(values: Sequence[float | None], width: int) -> list[Sequence[float | None]]:
    count = len(values)
    if count <= width:
        return [values[k : k + 1] for k in range(count)]
    return [values[k * count // width : (k + 1) * count // width] for k in range(width)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None
