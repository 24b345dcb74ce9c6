"""Packages with entry points, installed for the time of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from marl.plugins import Registry, installed


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    registry: Registry[Any],
    points: Mapping[str, str],
    modules: Mapping[str, str] | None = None,
    packages: Iterable[str] = ("demo-plugins",),
) -> None:
    """Install packages that register the same names, as pip leaves them behind.

    Args:
        points: the entry points' objects by name, in the registry's group.
        modules: sources by module.
    """
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)
    for package in packages:
        info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{registry.group}]\n{lines}")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(registry.__dict__, "_plugins", installed(registry.group))
    monkeypatch.setattr(registry, "_loaded", {})
