"""A warmed sandbox that commands use instead of starting their own, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig


@pytest.fixture(scope="session")
def warm_commands() -> Iterator[Sandbox]:
    """One sandbox for all commands that are given ``sandbox.examples=10``."""
    with Sandbox(SandboxConfig(examples=10)) as sandbox:
        yield sandbox


@pytest.fixture
def _warm(warm_commands: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the warmed sandbox."""

    class Borrowed:
        def __init__(self, config: SandboxConfig) -> None:
            assert config == warm_commands.config
            self.check, self.check_all = warm_commands.check, warm_commands.check_all

        def __enter__(self) -> Borrowed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

    for place in ("sandbox.checker", "qllm.jobs.synthesis", "qllm.cli.checking"):
        monkeypatch.setattr(f"{place}.Sandbox", Borrowed)
