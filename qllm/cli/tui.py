"""``qllm tui``: the terminal app."""

from __future__ import annotations

import sys
from pathlib import Path

from qllm.cli import options
from qllm.cli.failures import DONE, FAILED
from qllm.output import echo


def on_a_terminal() -> bool:
    """Whether the app can be shown: it reads keys from stdin and draws on stderr."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def tui() -> int:
    """Open the terminal app: follow, start and steer runs (also `qllm` without arguments)."""
    from qllm.errors import UsageError

    if not on_a_terminal():
        raise UsageError(
            "qllm tui needs a terminal (stdin and stderr are not one): `qllm runs` lists runs and"
            " `qllm --help` the commands"
        )
    from qllm.tui.app import run_app

    well = run_app(options.given.home)
    going = _at_work(options.given.home)
    if going:
        names = ", ".join(map(str, going))
        said = f"run {names} goes on" if len(going) == 1 else f"runs {names} go on"
        echo(f"qllm: {said}; `qllm` shows more", err=True)
    if not well:
        echo("qllm: the terminal app failed, as told above; no job was touched", err=True)
    return DONE if well else FAILED


def _at_work(home: Path | None) -> list[int]:
    """The runs that have a living process; none where the store cannot be read."""
    from qllm.store.errors import StoreError
    from qllm.store.store import open_store
    from qllm.tui.reading.runs import RunsQuery

    try:
        with open_store(home, readonly=True) as store:
            return sorted(row.id for row in RunsQuery(limit=200).read(store, {}) if row.active)
    except StoreError:
        return []
