"""The speed of the app with a store as it is after years."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from qllm.tui.big_store import OPEN, BusyJob, build_big_store

_END, _HOME, _PAGE_DOWN, _DOWN, _CTRL_F = "\x1b[F", "\x1b[H", "\x1b[6~", "\x1b[B", "\x06"

_ESCAPE = "\x1b[27u"
"""As terminals with the kitty keyboard protocol send it. After a bare escape Textual waits 100 ms
for the rest of a longer sequence, whatever the app does."""

_KEYS = {
    "runs": ("j", "j", "k", _PAGE_DOWN, _PAGE_DOWN, _END, _HOME, " ", " ", "k", "k"),
    "filter": ("/", "q", "m", "i", "x", _ESCAPE),
    "run": ("\r", "j", "j", "k", "x", "x", "m", "+", "-", "2", "j", "3", "4", "5", "1"),
    "help": ("?", _ESCAPE, _ESCAPE),
    "comparison": ("v", "c", "c", _ESCAPE),  # of the two that were marked
    "search": (_END, "\r", _DOWN, _DOWN, "2", "3", "4", "5", "6", "1", "z", "z", "k"),
    "candidate": ("\r", "2", "3", "4", "5", "1", _ESCAPE, _ESCAPE),
    "machine": ("y", _ESCAPE),
    "form": ("n", "\t", "\t", _CTRL_F, "l", "r", _ESCAPE),
}
"""Keys to press on each screen; the first ones of a screen open it."""


def measure_app(home: Path, *, runs: int, points: int, seconds: float) -> dict[str, Any]:
    """Build a store (unless there is one), and measure the app on it from outside.

    Args:
        home: the folder of the runs.
        runs: rows of runs in the store.
        points: rows of metrics in the store.
        seconds: how long to follow a run that is written to five times a second.
    """
    from bench.tui import bench_following, bench_keys, bench_start
    from qllm.store.store import open_store

    if not (home / "qllm.db").exists():
        build_big_store(home, runs=runs, points=points)
    with open_store(home, readonly=True) as store:
        newest = store.runs.listed(limit=1, top_level=True)[0].id
    command = (sys.executable, "-P", "-c", OPEN, "--home", str(home), "tui")
    row = str(newest)
    started = bench_start(command, "reading the runs", row, 5)
    keys = bench_keys(command, row, _KEYS)
    job = BusyJob(home, newest)
    try:
        following = bench_following(command, row, ("\r",), seconds)
    finally:
        job.close()
    return {
        "runs": runs,
        "points": points,
        "terminal": "120x36",
        **started,
        "keys": keys,
        "following": following,
    }
