"""Summary of a registered model: preset, required memory, changes since registration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.entries import ModelEntry
from models.families import Family, detect_family
from models.inspection import inspect_model, read_config
from models.llama_cpp.gguf import is_gguf, read_gguf
from models.memory import GIB, Fit, Need, cache_of, devices_here, fit_of, need_of, number_bytes
from models.opening import changes
from models.protocol import ModelError


def model_name(path: Path) -> str:
    """Name of a model from its folder: in a cache, from ``models--OWNER--NAME``. A GGUF file's own
    name for itself stands beside the file's."""
    if path.is_file() and is_gguf(path):
        return read_gguf(path).title
    for part in (path, *path.parents):
        if part.name.startswith("models--"):
            return part.name.rpartition("--")[2]
    return path.name


@dataclass(frozen=True)
class Memory:
    """Memory that a model needs, and whether this machine has it."""

    need: Need
    token_bytes: int
    """Of keys and values, for one more token."""
    note: str
    fit: Fit


def family_of(entry: ModelEntry) -> Family | None:
    """Preset for the model in an entry's folder; None if there is none."""
    if entry.path is None:
        return None
    try:
        return detect_family(read_config(_folder(entry)), model_name(Path(entry.path)))
    except ModelError:
        return None


def memory_of(entry: ModelEntry) -> Memory | None:
    """Memory of a model in a folder, with one conversation that fills the context.

    None where the model's configuration does not say.
    """
    if entry.path is None or entry.facts is None:
        return None
    stored = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(entry.facts.dtype)
    if entry.backend == "llama.cpp":  # it keeps weights as they are, and keys at two bytes
        stored = None
    dtype = entry.dtype if entry.dtype != "auto" else stored or "auto"
    try:
        cache = cache_of(read_config(_folder(entry)), dtype=dtype)
    except ModelError:
        return None
    weights = entry.facts.weight_bytes
    if stored is not None and not entry.facts.quantization:
        weights = weights * number_bytes(dtype) // number_bytes(stored)  # they are cast on loading
    tokens = entry.context_tokens or entry.facts.context_tokens or 16_384
    devices = entry.tensor_parallel_size
    need = need_of(weights, cache, tokens, devices=devices)
    fit = fit_of(
        need,
        devices_here(),
        device=entry.device,
        count=devices,
        share=entry.gpu_memory_utilization or 0.9,
    )
    return Memory(need, cache.token_bytes, cache.note, fit)


def _folder(entry: ModelEntry) -> str:
    return entry.facts.path if entry.facts is not None else str(entry.path)


def state_of(entry: ModelEntry) -> str:
    """Changes in a model's folder since it was added, in words; empty if there are none."""
    if entry.path is None or entry.facts is None:
        return ""
    try:
        changed = changes(entry.facts, inspect_model(entry.path))
    except ModelError as error:
        return str(error)
    return f"{' and '.join(changed)} changed since it was added" if changed else ""


def document_of(entry: ModelEntry, server: dict[str, Any] | None) -> dict[str, Any]:
    """Everything about a model, as ``qllm models show --json`` prints it.

    Args:
        entry: from the registry.
        server: its running server (`models.admin.servers.server_document`).
    """
    family, memory = family_of(entry), memory_of(entry)
    return {
        **entry.model_dump(mode="json"),
        "family": family.key if family is not None else None,
        "roles": list(family.roles) if family is not None else None,
        "changed": state_of(entry) or None,
        "memory": None
        if memory is None
        else {
            "weights_bytes": memory.need.weights,
            "cache_bytes": memory.need.cache,
            "cache_bytes_per_token": memory.token_bytes,
            "overhead_bytes": memory.need.overhead,
            "fits": memory.fit.fits,
            "device": memory.fit.device,
            "says": memory.fit.sentence,
            "note": memory.note or None,
        },
        "server": server,
    }


def lines_of(entry: ModelEntry, server: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The same for people, as (label, value)."""
    lines = [("backend", entry.backend), ("at", entry.where)]
    if entry.model_id:
        lines.append(("model", entry.model_id))
    facts, family, memory = entry.facts, family_of(entry), memory_of(entry)
    if facts is not None:
        quantised = f", {facts.quantization}" if facts.quantization else ""
        lines += [
            ("architecture", facts.architecture or facts.model_type),
            ("parameters", parameters(facts.parameters)),
            ("weights", f"{size(facts.weight_bytes)} in {facts.dtype}{quantised}"),
        ]
    if family is not None:
        lines.append(("preset", f"{family.title}; better as {family.roles[0]}"))
    if entry.context_tokens is not None:
        allowed = facts.context_tokens if facts is not None else None
        of = f" of {allowed:,}" if allowed else ""
        lines.append(("context", f"{entry.context_tokens:,}{of} tokens"))
    if memory is not None:
        need = memory.need
        parts = (
            f"weights {size(need.weights)}, cache {size(need.cache)}, else {size(need.overhead)}"
        )
        lines.append(("memory", f"{memory.fit.sentence} ({parts})"))
        if memory.token_bytes:
            special = f"; {memory.note}" if memory.note else ""
            lines.append(("cache", f"{memory.token_bytes:,} bytes a token{special}"))
    for key in ("dtype", "device", "python", "reasoning_parser", "chat_template_kwargs", "key_env"):
        value = getattr(entry, key)
        if value not in (None, "auto", {}):
            lines.append((key, str(value)))
    if entry.extra_args:
        lines.append(("extra_args", " ".join(entry.extra_args)))
    if server is not None:
        stays = "until it is stopped" if server["stays"] else "as long as a run uses it"
        lines.append(("server", f"{server['url']}, {stays}; log {server['log']}"))
    if facts is not None:
        covers = "every byte" if facts.weights_sha256 else "sizes and headers"
        digest = facts.weights_sha256 or facts.headers_sha256
        lines.append(("hash", f"{digest[:16]} ({covers})"))
        lines.append(("unchanged", state_of(entry) or "yes, as it was when it was added"))
    return lines


def parameters(n: int) -> str:
    """Number of parameters in words: ``7.62 billion``."""
    return f"{n / 1e9:.3g} billion" if n >= 1e8 else f"{n / 1e6:.2g} million"


def size(n: int) -> str:
    """Bytes in words: ``14.2 GiB``."""
    return f"{n / GIB:.1f} GiB" if n >= GIB // 10 else f"{n / (1 << 20):.1f} MiB"
