"""What is known to go wrong when vLLM starts without a network, looked for in files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from model_files import QWEN, write_model

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.inspection import inspect_model
from models.vllm import traps
from models.vllm.environment import VllmEnvironment
from models.vllm.launch import ServerSpec, server_environment

GPU_BUILD = {"vllm": "0.32.0", "flashinfer-python": "0.6.12", "oss-harmony": "0.0.11"}


def there(cuda: str = "13.0", on_cpu: bool = False, **packages: str) -> VllmEnvironment:
    named = {name.replace("_", "-"): version for name, version in packages.items()}
    return VllmEnvironment("/opt/vllm/bin/python", "0.32.0", on_cpu, {**GPU_BUILD, **named}, cuda)


def entry(folder: Path, **settings: Any) -> ModelEntry:
    return ModelEntry(
        name="m", backend="vllm", path=str(folder), facts=inspect_model(folder), **settings
    )


def tekken(folder: Path) -> Path:
    """A model whose only tokenizer is Mistral's own."""
    write_model(folder, config={**QWEN, "model_type": "mistral"})
    (folder / "tokenizer.json").unlink()
    (folder / "tekken.json").write_text("{}")
    return folder


# --- FlashInfer -----------------------------------------------------------------------------------


def test_kernels_that_are_missing_are_named_with_the_command(tmp_path: Path) -> None:
    said = traps.kernels(there(), {}, tmp_path)
    assert "flashinfer-cubin missing, flashinfer-jit-cache missing" in said
    assert "`vllm download-kernels`" in said
    assert "/opt/vllm/bin/python" in said
    other = there(flashinfer_cubin="0.6.11", flashinfer_jit_cache="0.6.12+cu130")
    assert "flashinfer-cubin 0.6.11" in traps.kernels(other, {}, tmp_path)


def test_kernels_of_the_same_version_are_no_trap(tmp_path: Path) -> None:
    whole = there(flashinfer_cubin="0.6.12", flashinfer_jit_cache="0.6.12+cu130")
    assert traps.kernels(whole, {}, tmp_path) == ""
    # For an older CUDA there is no jit-cache to be had.
    assert traps.kernels(there(cuda="12.8", flashinfer_cubin="0.6.12"), {}, tmp_path) == ""
    assert traps.kernels(there(cuda="12.9", flashinfer_cubin="0.6.12"), {}, tmp_path)
    elsewhere = {"VLLM_HAS_FLASHINFER_CUBIN": "1"}
    assert traps.kernels(there(cuda="12.8"), elsewhere, tmp_path) == ""


@pytest.mark.parametrize("place", ["90a/cached_ops/op", "0.6.12/90a/cached_ops/op"])
def test_kernels_of_an_earlier_start_are_no_trap(tmp_path: Path, place: str) -> None:
    (tmp_path / ".cache" / "flashinfer" / place).mkdir(parents=True)
    assert traps.kernels(there(), {}, tmp_path) == ""
    assert traps.kernels(there(), {"FLASHINFER_WORKSPACE_BASE": str(tmp_path / "x")}, tmp_path)
    named = {"FLASHINFER_WORKSPACE_BASE": str(tmp_path)}
    assert traps.kernels(there(), named, tmp_path / "elsewhere") == ""


def test_without_flashinfer_or_on_a_cpu_there_are_no_kernels_to_fetch(tmp_path: Path) -> None:
    assert traps.kernels(there(on_cpu=True), {}, tmp_path) == ""
    none = VllmEnvironment("/p", "0.32.0", False, {"vllm": "0.32.0"}, "13.0")
    assert traps.kernels(none, {}, tmp_path) == ""


# --- gpt-oss --------------------------------------------------------------------------------------


@pytest.fixture
def older() -> VllmEnvironment:
    """With the package that does not bring its vocabulary along."""
    packages = {"vllm": "0.20.0", "openai-harmony": "0.0.8"}
    return VllmEnvironment("/opt/vllm/bin/python", "0.20.0", False, packages, "12.8")


def test_a_vocabulary_is_looked_for_where_harmony_reads_it(
    older: VllmEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = b"vocabulary"
    monkeypatch.setattr(traps, "_VOCABULARY_SHA256", hashlib.sha256(words).hexdigest())
    missing = {"TMPDIR": str(tmp_path)}
    assert "export TIKTOKEN_ENCODINGS_BASE=FOLDER" in traps.vocabulary(older, missing)
    named = {**missing, "TIKTOKEN_ENCODINGS_BASE": str(tmp_path)}
    assert "has no whole o200k_base.tiktoken" in traps.vocabulary(older, named)
    (tmp_path / "o200k_base.tiktoken").write_bytes(words[:-1])  # cut short
    assert traps.vocabulary(older, named)
    (tmp_path / "o200k_base.tiktoken").write_bytes(words)
    assert traps.vocabulary(older, named) == ""
    cache = tmp_path / "tiktoken-rs-cache"
    cache.mkdir()
    (cache / traps._CACHED_NAME).write_bytes(words)
    assert traps.vocabulary(older, missing) == ""
    assert traps.vocabulary(older, {"TIKTOKEN_RS_CACHE_DIR": str(cache)}) == ""
    assert traps.vocabulary(older, {"TIKTOKEN_RS_CACHE_DIR": str(tmp_path)})


def test_the_package_of_newer_versions_brings_its_vocabulary_along() -> None:
    assert traps.vocabulary(there(), {"TIKTOKEN_ENCODINGS_BASE": "/nowhere"}) == ""


def test_the_variables_of_the_vocabulary_reach_the_server() -> None:
    spec = ServerSpec(python="p", model_path="m", served_name="m")
    base = {"TIKTOKEN_ENCODINGS_BASE": "/v", "TIKTOKEN_RS_CACHE_DIR": "/c", "OPENAI_API_KEY": "k"}
    chosen = server_environment(spec, "key", guard_folder="g", on_cpu=False, base=base)
    assert (chosen["TIKTOKEN_ENCODINGS_BASE"], chosen["TIKTOKEN_RS_CACHE_DIR"]) == ("/v", "/c")
    assert "OPENAI_API_KEY" not in chosen


# --- Mistral --------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", [(), ("--tokenizer-mode", "hf"), ("--block-size", "16")])
def test_a_lone_tekken_needs_its_own_mode(tmp_path: Path, extra: tuple[str, ...]) -> None:
    said = traps.tokenizer(entry(tekken(tmp_path / "m"), extra_args=extra), there())
    assert "--tokenizer-mode mistral" in said
    assert f"`qllm models add m {tmp_path / 'm'} --replace" in said


@pytest.mark.parametrize("extra", [("--tokenizer-mode", "mistral"), ("--tokenizer-mode=mistral",)])
def test_a_lone_tekken_needs_mistrals_package(tmp_path: Path, extra: tuple[str, ...]) -> None:
    one = entry(tekken(tmp_path / "m"), extra_args=extra)
    assert "mistral-common" in traps.tokenizer(one, there())
    assert traps.tokenizer(one, there(mistral_common="1.13.1")) == ""


def test_a_tokenizer_of_the_usual_kind_is_no_trap(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "tekken.json").write_text("{}")
    assert traps.tokenizer(entry(folder), there()) == ""


# --- together -------------------------------------------------------------------------------------


def test_the_traps_of_a_model_are_those_of_its_environment_and_its_kind(
    older: VllmEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def examine(python: str) -> VllmEnvironment:
        asked.append(python)
        return older

    monkeypatch.setattr(traps, "examine", examine)
    variables, config = {"TMPDIR": str(tmp_path)}, ModelsConfig(vllm_python="/usual/python")
    plain = entry(write_model(tmp_path / "plain"))
    assert traps.traps_of(plain, config, variables, tmp_path) == []
    folder = write_model(tmp_path / "oss", config={**QWEN, "model_type": "gpt_oss"})
    (said,) = traps.traps_of(entry(folder, python="/own/python"), config, variables, tmp_path)
    assert "harmony" in said
    assert asked == ["/usual/python", "/own/python"]


def test_an_environment_is_asked_for_its_packages_and_its_cuda(tmp_path: Path) -> None:
    from models.vllm.environment import examine

    python = tmp_path / "python"
    answer = {"packages": {**GPU_BUILD, "torch": "2.13.0"}, "cuda": "12.9"}
    python.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    python.chmod(0o755)
    found = examine(str(python))
    assert (found.version, found.on_cpu, found.cuda) == ("0.32.0", False, "12.9")
    assert found.packages["flashinfer-python"] == "0.6.12"


def test_the_version_of_cuda_is_read_from_torchs_files(tmp_path: Path) -> None:
    """The question itself, asked of our own Python with another torch in front."""
    import subprocess
    import sys

    from models.vllm.environment import _QUESTION

    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('imported')\n")
    version = "__version__ = '2.13.0'\ncuda: Optional[str] = '13.0'\nhip = None\n"
    (tmp_path / "torch" / "version.py").write_text(version)
    question = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{_QUESTION}"
    done = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)["cuda"] == "13.0"
