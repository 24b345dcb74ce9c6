"""From a registered model to one that answers."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from models.config import ModelsConfig
from models.entries import ModelEntry
from models.inspection import ModelFacts, inspect_model
from models.protocol import ChatModel, ModelError, Say

if TYPE_CHECKING:
    from models.vllm.launch import ServerSpec

Opener = Callable[[ModelEntry, ModelsConfig, Path, Say], ChatModel]
"""Makes the model behind an entry; the arguments are those of `open_model`."""


def open_model(
    entry: ModelEntry,
    config: ModelsConfig,
    *,
    folder: Path,
    say: Say | None = None,
    openers: Mapping[str, Opener] | None = None,
) -> ChatModel:
    """The model behind an entry. A server is started when it is first asked, or adopted if one with
    the same settings runs already.

    Args:
        entry: from the registry.
        config: settings of all models.
        folder: where a server that is started keeps its log, its key and its state.
        say: told about slow steps.
        openers: by backend; by default those of this package.

    Raises:
        ModelError: it cannot be opened: there is no such backend, the folder has changed or gone,
            the key is missing, the server is on another machine and that is not allowed, a package
            is not installed.
    """
    openers = OPENERS if openers is None else openers
    if entry.backend not in openers:
        near = difflib.get_close_matches(entry.backend, openers, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(openers)}"
        raise ModelError(f"model '{entry.name}': there is no backend '{entry.backend}': {hint}")
    if config.verify:
        verify(entry)
    return openers[entry.backend](entry, config, folder, say if say is not None else _nothing)


def verify(entry: ModelEntry) -> None:
    """Hold an entry's folder against what it was when the entry was made.

    Raises:
        ModelError: it has changed, or is no longer a model that may be loaded.
    """
    if entry.path is None or entry.facts is None:
        return
    try:
        now = inspect_model(entry.path)
    except ModelError as error:
        raise ModelError(f"model '{entry.name}': {error}") from None
    changed = changes(entry.facts, now)
    if changed:
        raise ModelError(
            f"model '{entry.name}': its {' and '.join(changed)} changed since it was added: if"
            f" that is meant, `qllm models add {entry.name} {entry.path} --replace` records it"
        )


def changes(then: ModelFacts, now: ModelFacts) -> list[str]:
    """Differences between two inspections of a model's folder, in words."""
    found = []
    if then.config_sha256 != now.config_sha256:
        found.append("configuration")
    if then.tokenizer_sha256 != now.tokenizer_sha256:
        found.append("tokenizer")
    both = then.weights_sha256 and now.weights_sha256
    if then.headers_sha256 != now.headers_sha256 or (
        both and then.weights_sha256 != now.weights_sha256
    ):
        found.append("weights")
    return found


def api_key(entry: ModelEntry) -> str | None:
    """The key that an entry's environment variable holds; None if it names no variable.

    Raises:
        ModelError: the variable is not set.
    """
    if entry.key_env is None:
        return None
    key = os.environ.get(entry.key_env, "").strip()
    if not key:
        raise ModelError(
            f"model '{entry.name}' needs a key in the environment variable {entry.key_env}, which"
            f" is not set: `export {entry.key_env}=...` first"
        )
    return key


def _open_openai(entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say) -> ChatModel:
    assert entry.url is not None
    key = api_key(entry)
    from models.openai_server import OpenAIModel

    return OpenAIModel(
        entry.name,
        url=entry.url,
        model_id=entry.model_id or entry.name,
        api_key=key,
        context_tokens=entry.context_tokens,
        timeout_s=config.request_timeout_s,
        longest_s=config.reply_timeout_s,
        dialect=entry.dialect,
        allow_remote=config.allow_remote,
    )


def _open_transformers(
    entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say
) -> ChatModel:
    assert entry.path is not None
    from models.transformers_local import TransformersModel

    return TransformersModel(
        entry.name,
        entry.path,
        device=entry.device,
        dtype=entry.dtype,
        context_tokens=entry.context_tokens,
        chat_template_kwargs=entry.chat_template_kwargs,
    )


def _open_llama_cpp(entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say) -> ChatModel:
    assert entry.path is not None
    from models.llama_cpp.model import LlamaCppModel

    return LlamaCppModel(
        entry.name,
        entry.path,
        folder,
        device=entry.device,
        context_tokens=entry.context_tokens,
        rows=entry.max_num_seqs,
        kv_cache_bytes=entry.kv_cache_bytes,
        chat_template_kwargs=entry.chat_template_kwargs,
        say=say,
        silence_s=config.request_timeout_s,
    )


def _open_vllm(entry: ModelEntry, config: ModelsConfig, folder: Path, say: Say) -> ChatModel:
    from models.vllm.model import VllmModel

    return VllmModel(
        entry.name,
        server_spec(entry, config),
        folder,
        say=say,
        handover=config.handover,
        start_timeout_s=config.start_timeout_s,
        request_timeout_s=config.request_timeout_s,
        reply_timeout_s=config.reply_timeout_s,
    )


OPENERS: dict[str, Opener] = {
    "llama.cpp": _open_llama_cpp,
    "openai": _open_openai,
    "transformers": _open_transformers,
    "vllm": _open_vllm,
}


def server_spec(entry: ModelEntry, config: ModelsConfig) -> ServerSpec:
    """The vLLM server for an entry."""
    from models.vllm.launch import ServerSpec

    assert entry.path is not None
    return ServerSpec(
        python=vllm_python(entry, config),
        model_path=entry.facts.path if entry.facts is not None else entry.path,
        served_name=entry.name,
        context_tokens=entry.context_tokens,
        dtype=entry.dtype,
        device=entry.device,
        gpu_memory_utilization=entry.gpu_memory_utilization,
        kv_cache_bytes=entry.kv_cache_bytes,
        max_num_seqs=entry.max_num_seqs,
        tensor_parallel_size=entry.tensor_parallel_size,
        reasoning_parser=entry.reasoning_parser or None,
        chat_template_kwargs=entry.chat_template_kwargs,
        sleep=config.handover == "sleep",
        extra_args=entry.extra_args,
    )


def vllm_python(entry: ModelEntry, config: ModelsConfig) -> str:
    """The Python that vLLM is installed for: the entry's, the configuration's, or our own."""
    return os.path.expanduser(entry.python or config.vllm_python or sys.executable)


def _nothing(line: str) -> None:
    """Default `Say`: discards the line."""
