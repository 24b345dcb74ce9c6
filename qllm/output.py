"""Printing on stdout and stderr: the one way, so that nothing foreign acts on a terminal.

Text from the store, a card, a file or a model is shown, never obeyed, and a line stays one line, so
that no text can pass for another.
"""

from __future__ import annotations

import sys

from qllm.text import safe


def echo(*lines: object, err: bool = False) -> None:
    """Print each of ``lines`` as one line, and an empty one where there are none."""
    for line in lines or ("",):
        print(safe(str(line)), file=sys.stderr if err else sys.stdout)


def echo_text(text: str) -> None:
    """Print text of several lines, with its tabs."""
    print(safe(text, newlines=True, tabs=True))
