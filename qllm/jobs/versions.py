"""Versions of the packages that a run used."""

from __future__ import annotations

import importlib.metadata
import platform

from qllm import __version__

_PACKAGES = ("torch", "numpy", "hypothesis", "RestrictedPython", "safetensors", "scipy")


def versions() -> dict[str, str]:
    """Versions that a result may depend on; nothing that identifies the machine."""
    found = {
        "qllm": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
