"""The app leaves with its terminal, whether or not a signal tells that it is gone."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from qllm.tui.jobs import own_process


def test_the_app_ends_when_its_terminal_is_gone_though_no_signal_says_so(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    # In a session without a controlling terminal there is no SIGHUP, as if it were ignored.
    app = subprocess.Popen(
        own_process(["tui", "--home", str(tmp_path)]),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    try:
        os.close(theirs)
        drawn, until = b"", time.monotonic() + 60
        while b"no runs yet" not in drawn and time.monotonic() < until:
            if select.select([ours], [], [], 0.1)[0]:
                drawn += os.read(ours, 65_536)
        assert b"no runs yet" in drawn
        os.close(ours)
        assert app.wait(timeout=20) == 0
    finally:
        app.kill()
        app.wait()


def test_only_the_streams_of_the_terminal_are_let_go(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    code = (
        "import os, sys, threading\n"
        "from qllm.tui.terminal import when_gone\n"
        "gone = threading.Event()\n"
        "when_gone(gone.set)\n"
        "print('ready', flush=True)\n"
        "assert gone.wait(20)\n"
        "os.write(2, b'to nobody')\n"  # would fail with EIO
        "print('left', flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(theirs)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    os.close(ours)
    assert child.stdout.read() == b"left\n"
    assert child.wait(timeout=20) == 0
