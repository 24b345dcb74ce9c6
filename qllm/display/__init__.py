"""Displays of a running job: ``make_display`` gives one of three."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from qllm.display.base import Bar, Display, DisplayKind, Level

__all__ = [
    "Bar",
    "Display",
    "DisplayKind",
    "Level",
    "make_display",
]


def make_display(
    kind: DisplayKind | None = None,
    *,
    json: bool = False,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Display:
    """A display.

    Args:
        kind: ``rich`` draws bars and colours, ``plain`` writes lines for a log, ``none`` is quiet
            (the result table still appears); None chooses ``rich`` on a terminal, else ``plain``.
        json: stdout belongs to a JSON document, so tables go to stderr.
        stdout, stderr: where to write; the process's own by default.
    """
    out, err = stdout or sys.stdout, stderr or sys.stderr
    if kind is None:
        kind = "rich" if err.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if kind == "rich":
        from qllm.display.rich import RichDisplay

        return RichDisplay(out, err, json=json)
    if kind == "plain":
        from qllm.display.plain import PlainDisplay

        return PlainDisplay(out, err, json=json)
    return Display(out, json=json)
