"""The app in a real terminal: tmux plays one, and every key goes through it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qllm.store.runs import derived_status
from qllm.store.states import ACTIVE
from qllm.store.store import open_store
from qllm.tui.jobs import start_job

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
    pytest.mark.timeout(300),
]


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path, home: Path) -> None:
        self._socket, self._home = folder / "tmux", home

    def tmux(self, *words: str) -> str:
        told = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", os.devnull, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout

    def open(self) -> None:
        """Start `qllm` with no arguments, as a person does."""
        code = "from qllm.cli.main import main; main()"
        environment = [f"PYTHONPATH={ROOT}", f"QLLM_HOME={self._home}", f"QLLM_MODELS={os.devnull}"]
        words = [
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            *environment,
            sys.executable,
            "-P",
            "-c",
            code,
        ]
        size = ["-x", "120", "-y", "36"]
        self.tmux("kill-session", "-t", "qllm")
        self.tmux("new-session", "-d", "-s", "qllm", *size, "-c", str(self._home.parent), *words)
        # What the app said as it ended stays to be read.
        self.tmux("set-option", "-t", "qllm", "remain-on-exit", "on")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", "-t", "qllm", key)
            time.sleep(0.15)

    def text(self) -> str:
        return self.tmux("capture-pane", "-p", "-S", "-200", "-t", "qllm")

    def running(self) -> bool:
        return self.tmux("list-panes", "-t", "qllm", "-F", "#{pane_dead}").strip() == "0"

    def wait_for(self, words: str, timeout_s: float = 90.0) -> str:
        wait(lambda: words in self.text(), timeout_s, lambda: f"no {words!r} in:\n{self.text()}")
        return self.text()

    def quit(self) -> None:
        self.press("q")
        wait(lambda: not self.running(), 30, lambda: f"it did not close:\n{self.text()}")

    def close(self) -> None:
        self.tmux("kill-server")


def wait(true: Callable[[], bool], timeout_s: float, said: Callable[[], str]) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, said()
        time.sleep(0.1)


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Starts a training that would take minutes, as the app's form does; gives its process."""
    started: list[int] = []

    def start() -> int:
        words = ("train", "matrix/climbing", "algorithm=vdn", "steps=2000000", "log_every=200")
        started.append(start_job(words, tmp_path / "runs").pid)
        return started[-1]

    yield start
    for pid in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(tmp_path, tmp_path / "runs")
    yield found
    found.close()
    if (tmp_path / "runs" / "qllm.db").exists():
        with open_store(tmp_path / "runs") as store:
            for run in store.runs.listed(top_level=True):
                if run.pid and derived_status(run) in ACTIVE:
                    os.kill(run.pid, signal.SIGKILL)


def status(home: Path, run_id: int = 1) -> str:
    with open_store(home, readonly=True) as store:
        return derived_status(store.runs.get(run_id))


def test_a_training_is_watched_left_found_again_and_stopped(
    terminal: Terminal, tmp_path: Path
) -> None:
    home = tmp_path / "runs"
    terminal.open()
    terminal.wait_for("no runs yet: press n to start one")
    terminal.press("n")
    terminal.wait_for("can be started")
    terminal.press("Enter", "Down", "Down", "Enter")
    terminal.wait_for("qllm train matrix/climbing")
    terminal.press("Tab", "Tab", "Tab", *"2000000")
    terminal.wait_for("steps=2000000")
    terminal.wait_for("can be started")
    terminal.press("C-r")
    terminal.wait_for("1 curves")  # the form gives way to the run that it started
    terminal.wait_for("▶ running")
    terminal.press("2")
    terminal.wait_for("td_error_abs")
    terminal.quit()
    assert status(home) == "running"  # the app was closed, the job was not

    terminal.open()
    terminal.wait_for("▶ running")
    terminal.press("s")
    terminal.wait_for("Stop run 1")
    terminal.press("y")
    terminal.wait_for("■ stopped")
    assert status(home) == "stopped"
    terminal.quit()


def test_a_job_that_was_killed_is_said_to_have_died(
    terminal: Terminal, train: Callable[[], int], tmp_path: Path
) -> None:
    home = tmp_path / "runs"
    pid = train()
    terminal.open()
    terminal.wait_for("▶ running")
    os.kill(pid, signal.SIGKILL)
    terminal.wait_for("† died")
    terminal.wait_for("its process is gone")
    terminal.press("Enter")
    terminal.wait_for("its process is gone: r goes on from its last checkpoint")
    terminal.quit()
    assert status(home) == "died"
