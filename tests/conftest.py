"""What all tests share: one torch thread, and one warmed sandbox for the whole session."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig

torch.set_num_threads(1)

# The models that the user of this machine has registered are none of the tests' business.
os.environ["QLLM_MODELS"] = os.devnull

# Who starts the tests in the background may have them ignored, and processes hand that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def warm_sandbox() -> Iterator[Sandbox]:
    """A sandbox with few examples and little processor time for each."""
    with Sandbox(SandboxConfig(cpu_s=8.0, examples=40)) as box:
        yield box


@pytest.fixture
def football_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have football played by what a folder holds as gfootball."""

    def play(packages: Path) -> None:
        path = tmp_path / "football-python"
        # As a Python of its own would be, it is told to look at nothing but its packages (-I).
        path.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={packages} exec {sys.executable} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("QLLM_FOOTBALL_PYTHON", str(path))

    return play


@pytest.fixture
def fake_football(football_like: Callable[[Path], None]) -> None:
    """Football is played by something that only looks like its engine."""
    football_like(Path(__file__).with_name("fake_football"))
