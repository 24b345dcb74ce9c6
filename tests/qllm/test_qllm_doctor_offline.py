"""``qllm doctor``: whether servers of registered models start without a network."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.vllm.environment import VllmEnvironment
from qllm.cli.main import run
from qllm.doctor import _offline, _sandbox
from sandbox.checker import Sandbox

sys.path.append(str(Path(__file__).parents[1] / "models"))
from model_files import write_model

KERNELS = {"flashinfer-cubin": "0.6.12", "flashinfer-jit-cache": "0.6.12"}


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLLM_MODELS", str(tmp_path / "models.yaml"))
    monkeypatch.setenv("QLLM_SERVERS", str(tmp_path / "servers"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FLASHINFER_WORKSPACE_BASE", raising=False)
    monkeypatch.delenv("VLLM_HAS_FLASHINFER_CUBIN", raising=False)


def environment(monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> list[str]:
    """A vLLM for GPUs, with FlashInfer's kernels or without; the Pythons that are asked."""
    asked: list[str] = []

    def examine(python: str) -> VllmEnvironment:
        asked.append(python)
        packages = {"flashinfer-python": "0.6.12", **(KERNELS if whole else {})}
        return VllmEnvironment(python, "0.32.0", False, packages, "13.0")

    monkeypatch.setattr("models.vllm.traps.examine", examine)
    return asked


def test_models_without_vllm_are_not_looked_at(tmp_path: Path) -> None:
    assert _offline(None) == []
    folder = write_model(tmp_path / "m")
    assert run(["models", "add", "own", str(folder), "--backend", "transformers"]) == 0
    assert _offline(None) == []
    (finding,) = _offline("/opt/vllm/bin/python")
    assert "--python was not looked at" in finding["detail"]


def test_a_trap_is_told_once_with_the_models_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(write_model(tmp_path / "m"))
    for name in ("one", "two"):
        assert run(["models", "add", name, folder, "--backend", "vllm"]) == 0
    asked = environment(monkeypatch, whole=False)
    (finding,) = _offline("/opt/vllm/bin/python")
    assert (finding["name"], finding["status"]) == ("offline", "warn")
    assert finding["detail"].startswith("one, two: FlashInfer 0.6.12 fetches or compiles")
    assert "\n" not in finding["detail"]
    assert asked == ["/opt/vllm/bin/python"] * 2


def test_a_whole_environment_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["models", "add", "m", str(write_model(tmp_path / "m")), "--backend", "vllm"]) == 0
    environment(monkeypatch, whole=True)
    (finding,) = _offline(None)
    assert finding["status"] == "ok"
    assert finding["detail"].startswith("m: nothing is known")


def test_what_cannot_be_looked_at_is_one_line(tmp_path: Path) -> None:
    assert run(["models", "add", "m", str(write_model(tmp_path / "m")), "--backend", "vllm"]) == 0
    (finding,) = _offline("/nowhere/python")
    assert finding["status"] == "warn"
    assert "m: there is no /nowhere/python" in finding["detail"]
    (tmp_path / "models.yaml").write_text("m:\n  backend: vllm\n  pth: x\n")
    (finding,) = _offline(None)
    assert (finding["name"], finding["status"]) == ("models", "warn")
    assert "did you mean path?" in finding["detail"]


def test_a_sandbox_that_refuses_everything_is_no_good_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walls that hold are not enough: once every function was refused for want of a gradient."""
    check = Sandbox.check
    monkeypatch.setattr(Sandbox, "check", lambda self, _, *rest: check(self, "nonsense", *rest))
    monkeypatch.setattr("sandbox.trials.try_everything", lambda box: [])
    _, _, finding = _sandbox()
    assert finding["status"] == "fail"
    assert finding["detail"].startswith("it refuses even the plain sum")
