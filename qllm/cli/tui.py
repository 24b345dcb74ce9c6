"""``qllm tui``: the terminal app."""

from __future__ import annotations

import sys

from qllm.cli import options
from qllm.cli.failures import DONE


def on_a_terminal() -> bool:
    """Whether the app can be shown: it reads keys from stdin and draws on stderr."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def tui(home: options.Home = None, debug: options.Debug = False) -> int:
    """Open the terminal app: follow, start and steer runs (also `qllm` without arguments)."""
    from qllm.errors import UsageError

    if not on_a_terminal():
        raise UsageError(
            "qllm tui needs a terminal (stdin and stderr are not one): `qllm runs` lists runs and"
            " `qllm --help` the commands"
        )
    from qllm.tui.app import run_app

    run_app(options.given.home)
    return DONE
