"""The fixture store, built once and copied for each test, with the clock stopped at its moment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tui_store


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fixture store; never written to."""
    home = tmp_path_factory.mktemp("tui") / "runs"
    tui_store.build_store(home)
    return home


@pytest.fixture
def home(built_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test's own copy of the fixture store; the clock stands still."""
    own = tmp_path / "runs"
    shutil.copytree(built_home, own)
    tui_store.freeze(monkeypatch)
    return own
