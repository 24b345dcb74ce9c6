"""How fast the terminal app is: first paint, answers to keys, and what it costs to follow a run.

The app runs in a pseudo-terminal of its own, as it does for a person, and everything is measured
from outside: the time until something is on the screen, until a key has changed it, and the
processor time that the kernel counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.app_store import BusyJob, build_big_store
from qllm.spawn import python_command
from qllm.store.store import open_store

QUIET_S = 0.05
"""An answer is over when nothing more came for so long."""

ANSWER_S, SHOWN_S = 30.0, 300.0
"""How long a key may take until it counts as unanswered, and how long the app may take to show what
is waited for: many times what a slow machine needs."""

AT_REST = 0.15
"""Share of a core that the app has, or waits for, while it does nothing but look for news."""


class TerminalApp:
    """A program in a pseudo-terminal.

    Args:
        command: what to run.
        columns: of the terminal.
        rows: of the terminal.
        environment: on top of our own.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 120,
        rows: int = 36,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        given = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            env={**os.environ, **given},
        )
        os.close(other)
        self.written = b""

    def __enter__(self) -> TerminalApp:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._main)

    def wait_for(self, text: str, timeout_s: float = SHOWN_S) -> float:
        """Read until a text was written; returns when, in seconds since the start.

        Raises:
            TimeoutError: it was not.
        """
        until = time.monotonic() + timeout_s
        while text.encode() not in self.written:
            came = self._read(0.5)
            if time.monotonic() > until or (not came and self._process.poll() is not None):
                raise TimeoutError(f"the app did not show {text!r}: {self.written[-500:]!r}")
        return time.monotonic() - self.began

    def settle(self, quiet_s: float = 0.5, timeout_s: float = 120.0) -> None:
        """Read until nothing was written for so long while the app was at rest.

        Silence alone says nothing on a slow machine, where the app may be reading still.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            began, busy = time.monotonic(), self._busy_s()
            came = self._read(quiet_s)
            if self._process.poll() is not None:
                return
            if not came and self._busy_s() - busy <= AT_REST * (time.monotonic() - began):
                return

    def press(self, key: str, timeout_s: float = ANSWER_S) -> tuple[float, float] | None:
        """Press a key; returns the seconds until something changed, and until all was written.

        None where nothing was written in time.
        """
        began = time.monotonic()
        os.write(self._main, key.encode())
        if not self._read(timeout_s):
            return None
        first = last = time.monotonic()
        while self._read(QUIET_S):
            last = time.monotonic()
        return first - began, last - began

    def read_for(self, seconds: float) -> int:
        """Read for a while; returns how many bytes came."""
        until, came = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            came += self._read(left)
        return came

    def processor_s(self) -> float:
        """Processor time of the app so far, in seconds."""
        with open(f"/proc/{self._process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _busy_s(self) -> float:
        """Seconds that the app's threads have run, or could have run and waited for a core."""
        spent = 0
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                ran, waited, _ = path.read_text(encoding="ascii").split()
                spent += int(ran) + int(waited)
        return spent / 1e9

    def _read(self, timeout_s: float) -> int:
        ready, _, _ = select.select([self._main], [], [], timeout_s)
        if not ready:
            return 0
        try:
            part = os.read(self._main, 65_536)
        except OSError:  # the program has ended
            return 0
        self.written = (self.written + part)[-1_000_000:]
        return len(part)


def bench_start(command: Sequence[str], first: str, rows: str, repeats: int) -> dict[str, Any]:
    """Seconds from the start of the process to what it shows, the median over some starts.

    Args:
        command: that opens the app.
        first: what stands on the screen when it is painted first.
        rows: what stands there when the runs are shown.
        repeats: how often.
    """
    painted, filled = [], []
    for _ in range(repeats):
        with TerminalApp(command) as app:
            painted.append(app.wait_for(first))
            filled.append(app.wait_for(rows))
    return {
        "first_paint_s": statistics.median(painted),
        "runs_shown_s": statistics.median(filled),
        "first_paint_worst_s": max(painted),
    }


def bench_keys(
    command: Sequence[str], rows: str, keys: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """Milliseconds until a key is answered, by screen: the median and the longest.

    An answer begins with the first change and is complete when nothing more comes; a screen that is
    opened is drawn first and filled when it was read. A key without an answer counts with the time
    that was waited for it, and is listed under ``unanswered``.

    Args:
        keys: for each screen the keys to press; the first one opens it.
    """
    found: dict[str, dict[str, Any]] = {}
    with TerminalApp(command) as app:
        app.wait_for(rows)
        app.settle()
        for screen, presses in keys.items():
            begun, complete, unanswered = [], [], []
            for key in presses:
                answer = app.press(key)
                if answer is None:
                    unanswered.append(key)
                first, last = answer or (ANSWER_S, ANSWER_S)
                begun.append(1_000 * first)
                complete.append(1_000 * last)
                app.settle(0.3)
            found[screen] = {
                "median_ms": statistics.median(begun),
                "worst_ms": max(begun),
                "complete_median_ms": statistics.median(complete),
                "complete_worst_ms": max(complete),
                "unanswered": unanswered,
            }
    return found


def bench_following(
    command: Sequence[str], rows: str, keys: Sequence[str], seconds: float
) -> dict[str, float]:
    """What it costs to follow a run that is written to meanwhile.

    Args:
        keys: that open the run.
        seconds: how long.
    """
    with TerminalApp(command) as app:
        app.wait_for(rows)
        app.settle(0.3)
        for key in keys:
            app.press(key)
        app.read_for(3.0)
        before, began = app.processor_s(), time.monotonic()
        came = app.read_for(seconds)
        spent, took = app.processor_s() - before, time.monotonic() - began
    return {"cores": spent / took, "bytes_per_s": came / took}


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


def bench_tui(home: Path, *, runs: int, points: int, seconds: float) -> dict[str, Any]:
    """Build a store (unless there is one), and measure the app on it.

    Args:
        home: the folder of the runs.
        runs: rows of runs in the store.
        points: rows of metrics in the store.
        seconds: how long to follow a run that is written to five times a second.

    Raises:
        TimeoutError: the app did not show what was waited for.
    """
    if not (home / "qllm.db").exists():
        build_big_store(home, runs=runs, points=points)
    with open_store(home, readonly=True) as store:
        newest = store.runs.listed(limit=1, top_level=True)[0].id
    command, row = python_command("qllm.cli.main:run", "--home", str(home), "tui"), str(newest)
    started = bench_start(command, "reading the runs", row, 5)
    keys = bench_keys(command, row, _KEYS)
    job = BusyJob(home, newest)
    try:
        following = bench_following(command, row, ("\r",), seconds)
    finally:
        job.close()
    found = {"runs": runs, "points": points, "terminal": "120x36"}
    return {**found, **started, "keys": keys, "following": following}
