"""Formatting of numbers for people, the same in the terminal and in reports."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

ABSENT = "–"
"""Stands where there is no number."""


_CENTURY_S = 3.2e9
"""Longer than any duration."""


def count(value: float | None) -> str:
    """A count in at most five characters: ``950``, ``20k``, ``1.25M``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999,950 would round to "1000k": the next letter starts where rounding reaches it.
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"


def whole(value: float | None) -> str:
    """Every digit of a count, in groups: ``20,000``."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3g}"


def plural(n: int, singular: str, several: str = "") -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{whole(n)} {singular if n == 1 else several or singular + 's'}"


def number(value: float | None) -> str:
    """A measured number to a readable precision: ``231.4``, ``0.071``, ``-12,500``."""
    if value is None:
        return ABSENT
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 10_000:
        return f"{value:,.0f}"
    if size >= 10 or value == 0:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def interval(ends: Sequence[float] | None) -> str:
    """``[183.2, 201.0]``, or the sign for "none" (one seed has no interval over seeds)."""
    return ABSENT if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3m 07s``, ``1h 02m``."""
    if seconds is None or not abs(seconds) < _CENTURY_S:
        return ABSENT
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    if whole_seconds < 3600:
        return f"{whole_seconds // 60}m {whole_seconds % 60:02d}s"
    return f"{whole_seconds // 3600}h {whole_seconds % 3600 // 60:02d}m"


def checkpoint_named(text: str) -> Literal["newest", "best"] | int | None:
    """Which checkpoint of a training: ``newest``, ``best``, or a step such as ``20k``; None for
    anything else."""
    if text == "newest":
        return "newest"
    if text == "best":
        return "best"
    step = typed_number(text)
    return step if isinstance(step, int) else None


_SIZES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_TYPED = re.compile(r"([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)\s?([kKmMgG]?)")

MOST_SEEDS = 10_000
"""In a range that is typed."""


def typed_number(text: str) -> int | float | None:
    """A number as people type one: ``20k``, ``2M``, ``1e6``, ``20_000``; None for anything else."""
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        return None
    value = float(found[1].replace("_", "")) * _SIZES[found[2].lower()]
    if not math.isfinite(value):
        return None
    return round(value) if value == round(value) and abs(value) < 2**53 else value


def typed_range(text: str) -> list[int] | None:
    """The numbers of a range such as ``0-4``, both ends included; None for anything else."""
    found = re.fullmatch(r"\s*(\d{1,10})\s*-\s*(\d{1,10})\s*", text)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    return list(range(first, last + 1)) if 0 <= last - first < MOST_SEEDS else None
