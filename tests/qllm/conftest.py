"""A warmed sandbox for commands, whose own would take seconds to start; a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres import PostgresServer, running_server

from sandbox.checker import Sandbox
from sandbox.config import SandboxConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for runs, whatever database the environment names."""
    monkeypatch.delenv("QLLM_DB", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def warm_commands() -> Iterator[Sandbox]:
    """One sandbox for all commands that are given ``sandbox.examples=10``."""
    with Sandbox(SandboxConfig(examples=10)) as sandbox:
        yield sandbox


@pytest.fixture
def _warm(warm_commands: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the warmed sandbox."""

    class Borrowed:
        def __init__(self, config: SandboxConfig | None = None, **_: object) -> None:
            asked = (config or warm_commands.config).model_copy(update={"rows": None})
            assert asked == warm_commands.config

        def __getattr__(self, name: str) -> Any:
            return getattr(warm_commands, name)

        def __enter__(self) -> Borrowed:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def close(self) -> None:
            pass

    for place in ("sandbox.checker", "qllm.cli.checking"):
        monkeypatch.setattr(f"{place}.Sandbox", Borrowed)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests that ask for one; it runs when a test begins."""
    with running_server() as server:
        yield server
