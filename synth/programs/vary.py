"""Variations: an earlier program with other strengths, its terms kept."""

from __future__ import annotations

import random
import re

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_STRENGTHS = re.compile(r"^    (?:lean(?:_\d+)?|bias) = .*$", re.MULTILINE)
_NUMBER = re.compile(r"\b\d+\.\d+\b(?= \* )")


def vary(reply: str, rng: random.Random) -> str | None:
    """The program in ``reply`` with the strengths in its leanings and its bias redrawn.

    Returns:
        The new source; ``None`` where there is no block of code, or no strength in it to change.
    """
    found = _BLOCK.search(reply)
    if found is None:
        return None
    changed = False

    def redraw(number: re.Match[str]) -> str:
        nonlocal changed
        if rng.random() < 0.25:
            return number[0]
        value = float(f"{float(number[0]) * rng.choice([0.5, 0.7, 1.4, 2.0]):.2g}")
        if repr(value) == number[0]:
            return number[0]
        changed = True
        return repr(value)

    source = _STRENGTHS.sub(lambda line: _NUMBER.sub(redraw, line[0]), found[1])
    return source if changed else None
