"""Which versions of what a run was made with."""

from __future__ import annotations

import importlib.metadata
import platform

_PACKAGES = ("qllm", "torch", "numpy", "hypothesis", "RestrictedPython", "safetensors", "scipy")


def versions() -> dict[str, str]:
    """Versions that a result may depend on; nothing that identifies the machine."""
    found = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
