"""What all tests share: one torch thread, and one warmed sandbox for the whole session."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

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
