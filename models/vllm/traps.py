"""What a vLLM server would fetch or miss where there is no network, found by looking at files.

Nothing is imported, started or fetched. Three things are known to go wrong offline: kernels that
FlashInfer downloads or compiles at the first start, the vocabulary file of gpt-oss's format
(harmony), and models of Mistral whose only tokenizer is ``tekken.json``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.opening import vllm_python
from models.vllm.environment import VllmEnvironment, examine

_VOCABULARY = "o200k_base.tiktoken"
_VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
"""As openai-harmony checks it."""
_CACHED_NAME = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""openai-harmony's name for that file in its cache."""
_FIRST_JIT_CACHE = (12, 9)
"""CUDA version from which FlashInfer's compiled kernels are to be had (flashinfer-jit-cache)."""


def traps_of(
    entry: ModelEntry, config: ModelsConfig, variables: Mapping[str, str], home: Path
) -> list[str]:
    """Reasons why a model's server may not start without a network, each with what to do.

    Args:
        entry: a model with backend vllm.
        config: for the Python that vLLM is installed in.
        variables: the user's environment variables.
        home: the user's home folder, where FlashInfer keeps its cache.

    Raises:
        ModelError: vLLM is not installed for that Python.
    """
    there = examine(vllm_python(entry, config))
    found = [kernels(there, variables, home), tokenizer(entry, there)]
    if entry.facts is not None and entry.facts.model_type == "gpt_oss":
        found.append(vocabulary(there, variables))
    return [trap for trap in found if trap]


def kernels(there: VllmEnvironment, variables: Mapping[str, str], home: Path) -> str:
    """FlashInfer without the precompiled kernels of its version; empty if they are there."""
    own = _public(there.packages.get("flashinfer-python"))
    if there.on_cpu or own is None:
        return ""
    wanted = [] if variables.get("VLLM_HAS_FLASHINFER_CUBIN") == "1" else ["flashinfer-cubin"]
    if _version(there.cuda) >= _FIRST_JIT_CACHE:
        wanted.append("flashinfer-jit-cache")
    versions = {name: _public(there.packages.get(name)) for name in wanted}
    wrong = [f"{name} {v or 'missing'}" for name, v in versions.items() if v != own]
    if not wrong or (None in versions.values() and _compiled_before(variables, home)):
        return ""
    return (
        f"FlashInfer {own} fetches or compiles kernels at its first start ({', '.join(wrong)}):"
        f" run `vllm download-kernels` in the environment of {there.python} while connected"
    )


def _compiled_before(variables: Mapping[str, str], home: Path) -> bool:
    """Whether an earlier start left compiled kernels in FlashInfer's cache."""
    cache = Path(variables.get("FLASHINFER_WORKSPACE_BASE") or home) / ".cache" / "flashinfer"
    return any(next(cache.glob(f"{depth}/cached_ops/*"), None) for depth in ("*", "*/*"))


def vocabulary(there: VllmEnvironment, variables: Mapping[str, str]) -> str:
    """The vocabulary of harmony that gpt-oss needs; empty if it is there.

    oss-harmony, on which vLLM 0.32 depends, brings it along; openai-harmony reads a folder that a
    variable names, or else a file that it once downloaded.
    """
    if "oss-harmony" in there.packages:
        return ""
    named = variables.get("TIKTOKEN_ENCODINGS_BASE")
    if named:
        file = Path(named) / _VOCABULARY
        if _is_vocabulary(file):
            return ""
        return f"TIKTOKEN_ENCODINGS_BASE={named} has no whole {_VOCABULARY}: put the file there"
    cache = variables.get("TIKTOKEN_RS_CACHE_DIR")
    usual = Path(variables.get("TMPDIR") or tempfile.gettempdir()) / "tiktoken-rs-cache"
    if _is_vocabulary((Path(cache) if cache else usual) / _CACHED_NAME):
        return ""
    return (
        f"gpt-oss needs harmony's vocabulary, which is fetched at its start: put {_VOCABULARY}"
        " into a folder and `export TIKTOKEN_ENCODINGS_BASE=FOLDER`"
    )


def tokenizer(entry: ModelEntry, there: VllmEnvironment) -> str:
    """A tokenizer that only Mistral's own package reads; empty where it is read, or not needed."""
    if entry.facts is None or entry.facts.tokenizer != "tekken.json":
        return ""
    words = " ".join(entry.extra_args).replace("=", " ") + " "
    if "--tokenizer-mode mistral " not in words:
        mode = " ".join([*entry.extra_args, "--tokenizer-mode mistral"])
        return (
            "its only tokenizer is tekken.json, which has no chat template for vLLM without"
            f" --tokenizer-mode mistral: `qllm models add {entry.name} {entry.path} --replace"
            f' --extra "{mode}"`'
        )
    if "mistral-common" not in there.packages:
        return (
            "its only tokenizer is tekken.json, which needs the package mistral-common in the"
            f" environment of {there.python}: install it there while connected"
        )
    return ""


def _is_vocabulary(file: Path) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == _VOCABULARY_SHA256
    except OSError:
        return False


def _public(version: str | None) -> str | None:
    """A version without its local part: ``0.6.12`` of ``0.6.12+cu130``."""
    return None if version is None else version.partition("+")[0]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
