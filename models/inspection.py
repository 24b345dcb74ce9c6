"""Inspection of a model directory, without loading it or running anything in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.llama_cpp.gguf import is_gguf, read_gguf
from models.protocol import ModelError
from models.weights import Tensor, Weights, file_hash, read_json, read_weights

Hash = str
"""SHA-256, 64 hexadecimal digits."""


class ModelFacts(BaseModel):
    """A complete model directory, as it was when it was inspected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """The folder that holds config.json, or the GGUF file; links resolved."""
    architecture: str
    """First entry of config.json's ``architectures``, such as ``Qwen2ForCausalLM``."""
    model_type: str
    context_tokens: int | None = Field(default=None, ge=1)
    """Most positions that the configuration allows; None where it does not say."""
    parameters: int = Field(ge=1)
    """Numbers that the weights stand for: packed ones are counted unpacked, scales are left out."""
    weight_bytes: int = Field(ge=1)
    """Bytes of the safetensors files, or of the GGUF file with its parts."""
    dtype: str
    """The type that most of the weights are stored in, such as ``BF16``."""
    quantization: str = ""
    """The quantisation's name in config.json (``awq``, ``fp8``, ``mxfp4``); ``gguf`` for such a
    file; empty if none."""
    tokenizer: str
    """The file of the tokenizer."""
    chat_template: str
    """File of the chat template."""
    config_sha256: Hash
    tokenizer_sha256: Hash
    """Over every file of the tokenizer and its chat template."""
    headers_sha256: Hash
    """Over names, sizes and headers of the safetensors files: quick, and enough to tell models and
    cut files apart."""
    weights_sha256: Hash | None = None
    """Over every byte of them; None unless it was requested."""


_TOKENIZERS: tuple[tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("tekken.json",),
)
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tekken.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
_NAMES_CODE = ("config.json", "tokenizer_config.json", "processor_config.json")


def inspect_model(path: str | Path, *, full_hash: bool = False) -> ModelFacts:
    """Look whether there is a complete model that can be loaded without running its code.

    Args:
        path: a model directory, the folder ``models--OWNER--NAME`` of a Hugging Face cache, or a
            GGUF file (of one in parts, the first).
        full_hash: also read every byte of the weights (minutes for tens of gigabytes).

    Raises:
        ModelError: it is no model, not complete, pickled, or brings Python code of its own.
    """
    folder = resolve_model(path)
    if folder.is_file():
        return _inspect_gguf(folder, full_hash=full_hash)
    if not (folder / "config.json").is_file():
        raise ModelError(f"'{folder}' has no config.json: {_what_else(folder)}")
    config = read_config(folder)
    _refuse_code(folder)
    weights = read_weights(folder)
    tokenizer = _tokenizer(folder)
    architectures = config.get("architectures") or [""]
    quantization = _quantization(config)
    return ModelFacts(
        path=str(folder),
        architecture=str(architectures[0]),
        model_type=str(config.get("model_type", "")),
        context_tokens=context_of(config),
        parameters=_parameters(weights, quantization, config),
        weight_bytes=weights.size,
        dtype=weights.dtype,
        quantization=quantization,
        tokenizer=tokenizer,
        chat_template=_chat_template(folder, tokenizer),
        config_sha256=file_hash(folder / "config.json"),
        tokenizer_sha256=_tokenizer_hash(folder),
        headers_sha256=weights.quick_hash(),
        weights_sha256=weights.full_hash(folder) if full_hash else None,
    )


def resolve_model(path: str | Path) -> Path:
    """The folder that holds config.json: the path itself, or the snapshot of a cache folder. A GGUF
    file is taken as it is.

    Raises:
        ModelError: there is no such folder, or it does not say which snapshot is meant.
    """
    folder = Path(path).expanduser().absolute()
    if folder.is_file():
        if is_gguf(folder):
            return folder.resolve()
        raise ModelError(
            f"'{folder}' is a file, and no GGUF file: give the folder that holds config.json, the"
            " safetensors files and the tokenizer"
        )
    if not folder.is_dir():
        raise ModelError(
            f"'{folder}': there is no such folder (nothing is downloaded: fetch the model first)"
        )
    snapshots = folder / "snapshots"
    if (folder / "config.json").exists() or not snapshots.is_dir():
        return folder.resolve()
    found = sorted(p for p in snapshots.iterdir() if p.is_dir())
    main = folder / "refs" / "main"
    if main.is_file():
        named = snapshots / main.read_text(encoding="utf-8").strip()
        if named in found:
            return named.resolve()
    if len(found) == 1:
        return found[0].resolve()
    if not found:
        raise ModelError(f"'{snapshots}' is empty: the model was not fetched")
    raise ModelError(
        f"'{folder}' has {len(found)} snapshots and no refs/main: give one of them, such as"
        f" '{found[0]}'"
    )


def read_config(folder: str | Path) -> dict[str, Any]:
    """``config.json`` of a model directory; of a GGUF file, what it says in the same words.

    Raises:
        ModelError: it cannot be read.
    """
    if Path(folder).is_file():
        return read_gguf(Path(folder)).config()
    return read_json(Path(folder) / "config.json")


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a configuration that describes the language model.

    Models that also see images keep it apart from the vision model's.
    """
    for key in ("text_config", "llm_config", "language_config"):
        inner = config.get(key)
        if isinstance(inner, dict):
            return inner
    return config


def rope_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Scaling of positions: ``rope_scaling``, or ``rope_parameters`` in newer files."""
    text = text_config(config)
    for key in ("rope_scaling", "rope_parameters"):
        rope = text.get(key)
        if isinstance(rope, dict):
            return rope
    return {}


def context_of(config: Mapping[str, Any]) -> int | None:
    """Most tokens of a conversation that a configuration allows, as vLLM derives it.

    ``max_position_embeddings``, times the factor of linear, dynamic or YaRN scaling. Where YaRN
    says from which length it stretches, that length is what the factor applies to.
    """
    text = text_config(config)
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
    lengths = [text[k] for k in keys if type(text.get(k)) is int and text[k] > 0]
    if not lengths:
        return None
    length = min(lengths)
    rope = rope_of(config)
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor", 1.0)
    own_length = kind in (None, "default", "su", "longrope", "llama3", "mrope")
    gemma = "gemma3" in str(text.get("model_type", ""))  # its length is the stretched one already
    if own_length or gemma or not isinstance(factor, int | float):
        return length
    if kind == "yarn":
        length = int(rope.get("original_max_position_embeddings") or length)
    return int(length * factor)


def _inspect_gguf(path: Path, *, full_hash: bool) -> ModelFacts:
    gguf = read_gguf(path)
    if not gguf.chat_template:
        raise ModelError(
            f"'{path}' has no chat template, as base models have none: take the instruct or chat"
            " version"
        )
    return ModelFacts(
        path=str(path),
        architecture=gguf.architecture,
        model_type=str(gguf.config()["model_type"]),
        context_tokens=context_of(gguf.config()),
        parameters=gguf.parameters,
        weight_bytes=gguf.size,
        dtype=gguf.dtype,
        quantization="gguf",
        tokenizer="gguf",
        chat_template="gguf",
        config_sha256=gguf.header_sha256,
        tokenizer_sha256=gguf.header_sha256,
        headers_sha256=gguf.header_sha256,
        weights_sha256=gguf.full_hash() if full_hash else None,
    )


def _what_else(folder: Path) -> str:
    names = [p.name for p in folder.iterdir()]
    if "params.json" in names:
        return "it is in Mistral's own layout; take the version for transformers"
    if any(n.endswith(".gguf") for n in names):
        return (
            "it has GGUF weights; give the file itself, such as"
            f" '{folder / min(n for n in names if n.endswith('.gguf'))}'"
        )
    if any(n.startswith("models--") for n in names):
        return "it is a whole cache; give one of its folders models--OWNER--NAME"
    return "it is no model directory, or not complete"


def _refuse_code(folder: Path) -> None:
    for name in _NAMES_CODE:
        if not (folder / name).is_file():
            continue
        document = read_json(folder / name)
        if document.get("auto_map") or text_config(document).get("auto_map"):
            kind = document.get("model_type")
            raise ModelError(
                f"'{folder / name}' names Python code that comes with the model (auto_map), and"
                " code of a model is never run: take a version for transformers without it. If"
                f" transformers and vLLM know {f'model type {kind}' if kind else 'it'} themselves,"
                " removing the key auto_map from a copy of this file is enough"
            )


def _tokenizer(folder: Path) -> str:
    for names in _TOKENIZERS:
        if all((folder / name).is_file() for name in names):
            return names[0]
    raise ModelError(
        f"'{folder}' has no tokenizer (tokenizer.json, or tokenizer.model): the model is not"
        " complete; fetch it again"
    )


def _chat_template(folder: Path, tokenizer: str) -> str:
    if (folder / "chat_template.jinja").is_file():
        return "chat_template.jinja"
    for name in ("tokenizer_config.json", "chat_template.json"):
        if (folder / name).is_file() and read_json(folder / name).get("chat_template"):
            return name
    if tokenizer == "tekken.json":
        return "mistral-common"
    raise ModelError(
        f"'{folder}' has no chat template (neither chat_template.jinja nor chat_template in"
        " tokenizer_config.json), as base models have none: take the instruct or chat version, or"
        " put its chat_template.jinja there"
    )


def _tokenizer_hash(folder: Path) -> str:
    names = [name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    lines = [f"{file_hash(folder / name)} {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _quantization(config: Mapping[str, Any]) -> str:
    for where in (config, text_config(config)):
        for key in ("quantization_config", "compression_config"):
            found = where.get(key)
            if isinstance(found, dict):
                return str(found.get("quant_method") or found.get("quant_algo") or "unknown")
    return ""


_PACKED = {"I32": 32, "U8": 8}
"""Types that hold several small numbers in one, with their bits."""
_HELPERS = ("scales", "scale", "qzeros", "g_idx", "absmax", "quant_map", "zero_point", "scale_inv")


def _parameters(weights: Weights, quantization: str, config: Mapping[str, Any]) -> int:
    if not quantization:
        return sum(t.elements for t in weights.tensors)
    settings = config.get("quantization_config") or {}
    bits = settings.get("bits") or settings.get("w_bit") or 4

    def stood_for(tensor: Tensor) -> int:
        last = tensor.name.rpartition(".")[2]
        if any(last.endswith(helper) for helper in _HELPERS) or "quant_state" in tensor.name:
            return 0
        packed = _PACKED.get(tensor.dtype)
        return tensor.elements * (packed // bits if packed and type(bits) is int else 1)

    return max(1, sum(map(stood_for, weights.tensors)))
