"""Memory of a model: its weights, and the keys and values of its context.

Attention keeps, for every token of a conversation, one key and one value per layer and key-value
head: ``2 x layers x kv_heads x head_dim x bytes``. Three things make it less. Multi-head latent
attention (DeepSeek) keeps one compressed vector a layer, ``kv_lora_rank + qk_rope_head_dim``
numbers, for keys and values together. A layer with a sliding window keeps no more tokens than the
window. Linear attention and state-space layers keep a state of fixed size, which is left out here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.inspection import text_config
from models.protocol import ModelError

GIB = 1 << 30
_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1, "auto": 2}

_OVERHEAD = 1.5 * GIB
"""Of a server beside weights and cache: the CUDA context, activations and captured graphs."""


@dataclass(frozen=True)
class Cache:
    """Memory of keys and values."""

    full_layers: int
    """Layers that keep every token."""
    window_layers: int
    """Layers that keep no more tokens than their window."""
    window: int
    """Tokens; 0 without such layers."""
    layer_token_bytes: int
    """Bytes of one token in one layer."""
    latent: bool
    """Whether attention is multi-head latent attention."""

    @property
    def token_bytes(self) -> int:
        """Bytes of one more token in a long conversation, where all windows are full."""
        return self.full_layers * self.layer_token_bytes

    def bytes_for(self, tokens: int) -> int:
        """Bytes of one conversation of this many tokens."""
        windowed = self.window_layers * min(tokens, self.window)
        return (self.full_layers * tokens + windowed) * self.layer_token_bytes

    @property
    def note(self) -> str:
        """Its peculiarity, in words; empty for plain attention."""
        parts = []
        if self.latent:
            parts.append("latent attention: one compressed vector a layer")
        if self.window_layers:
            parts.append(
                f"{self.window_layers} of {self.full_layers + self.window_layers} layers keep"
                f" {self.window:,} tokens at most"
            )
        return "; ".join(parts)


def cache_of(config: Mapping[str, Any], *, dtype: str = "auto") -> Cache:
    """Memory of keys and values under a model's configuration.

    Args:
        config: ``config.json``.
        dtype: of the cache: ``auto`` (two bytes a number), ``float32``, ``fp8``...

    Raises:
        ModelError: the configuration lacks the numbers.
    """
    text = text_config(config)
    layers = _number(text, "num_hidden_layers", "n_layer")
    per_number = number_bytes(dtype)
    rank = text.get("kv_lora_rank")
    if type(rank) is int and rank > 0:
        each = (rank + _number(text, "qk_rope_head_dim")) * per_number
        return Cache(layers, 0, 0, each, latent=True)
    heads = _number(text, "num_attention_heads", "n_head")
    kv_heads = _optional(text, "num_key_value_heads", "multi_query_group_num") or heads
    width = _optional(text, "head_dim", "kv_channels")
    width = width or _number(text, "hidden_size", "n_embd") // heads
    each = 2 * kv_heads * width * per_number
    full, windowed, window = _layers(text, layers)
    return Cache(full, windowed, window, each, latent=False)


def number_bytes(dtype: str) -> int:
    """Bytes of one number of a type; two where the name says nothing."""
    return _BYTES.get(dtype, 2)


def _layers(text: Mapping[str, Any], layers: int) -> tuple[int, int, int]:
    """(layers that keep everything, layers with a window, the window)."""
    window = text.get("sliding_window")
    window = window if type(window) is int and window > 0 else 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and len(kinds) == layers:
        full = sum(kind in ("full_attention", "attention") for kind in kinds)
        windowed = sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
        if windowed and not window:
            window = _number(text, "attention_chunk_size")
        return full, windowed, window if windowed else 0
    kind = str(text.get("model_type", ""))
    # Qwen writes a window that it does not use, unless another key says so.
    if not window or not text.get("use_sliding_window", not kind.startswith("qwen")):
        return layers, 0, 0
    # Every so many layers one keeps everything; older files leave the family's own number out.
    usual = next((n for prefix, n in _PATTERNS.items() if kind.startswith(prefix)), 0)
    pattern = text.get("sliding_window_pattern", usual)
    if type(pattern) is int and pattern > 1:
        return layers // pattern, layers - layers // pattern, window
    return 0, layers, window


_PATTERNS = {"gemma2": 2, "gemma3": 6, "gpt_oss": 2}


def _optional(text: Mapping[str, Any], *keys: str) -> int | None:
    """The first of the keys that holds a positive whole number."""
    return next((v for v in map(text.get, keys) if type(v) is int and v > 0), None)


def _number(text: Mapping[str, Any], *keys: str) -> int:
    found = _optional(text, *keys)
    if found is not None:
        return found
    raise ModelError(f"config.json has no {keys[0]}: the memory it needs cannot be worked out")


@dataclass(frozen=True)
class Need:
    """Bytes on every device that the model is spread over."""

    weights: int
    cache: int
    """For one conversation that fills the context."""
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.overhead


def need_of(
    weight_bytes: int, cache: Cache, tokens: int, *, conversations: int = 1, devices: int = 1
) -> Need:
    """Memory that each device must have free.

    Args:
        weight_bytes: of the safetensors files.
        cache: what keys and values take.
        tokens: of one conversation.
        conversations: kept at the same time.
        devices: that weights and heads are split over evenly (tensor parallelism).
    """
    kept = conversations * cache.bytes_for(tokens)
    # Latent vectors belong to all heads, so every device holds them whole.
    kept = kept if cache.latent else -(-kept // devices)
    return Need(-(-weight_bytes // devices), kept, int(_OVERHEAD))


@dataclass(frozen=True)
class Device:
    """A GPU, or the machine's main memory (named ``cpu``)."""

    name: str
    total: int
    """Bytes."""
    free: int


def devices_here() -> tuple[Device, ...]:
    """The GPUs of this machine (NVIDIA's tool is asked, else torch), then its main memory."""
    import psutil

    memory = psutil.virtual_memory()
    return (*(_nvidia() or _torch()), Device("cpu", memory.total, memory.available))


def _nvidia() -> tuple[Device, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return gpus_in(done.stdout)


def gpus_in(table: str) -> tuple[Device, ...]:
    """The GPUs of ``nvidia-smi``'s table of names, total and free MiB."""
    found = []
    for line in table.splitlines():
        name, *numbers = (word.strip() for word in line.rsplit(",", 2))
        if len(numbers) == 2 and all(n.isdecimal() for n in numbers):
            found.append(Device(name, int(numbers[0]) << 20, int(numbers[1]) << 20))
    return tuple(found)


def _torch() -> tuple[Device, ...]:
    try:
        import torch
    except ImportError:
        return ()
    if not torch.cuda.is_available():
        return ()
    found = []
    for place in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(place)
        found.append(Device(torch.cuda.get_device_name(place), total, free))
    return tuple(found)


@dataclass(frozen=True)
class Fit:
    """Whether a model fits, and where."""

    fits: bool
    device: str
    """``cuda``, or ``cpu`` where there is no GPU or the model is for the CPU."""
    sentence: str


def fit_of(
    need: Need,
    here: tuple[Device, ...],
    *,
    device: str = "auto",
    count: int = 1,
    share: float = 0.9,
) -> Fit:
    """Hold a need against this machine.

    Args:
        need: for each of ``count`` devices.
        here: what the machine has, as `devices_here` gives it.
        device: ``auto`` (GPUs if there are any), ``cuda`` or ``cpu``.
        share: of a GPU's memory that the server may take.
    """
    gpus = [d for d in here if d.name != "cpu"]
    cpu = next(d for d in here if d.name == "cpu")
    total = f"{need.total / GIB:.1f} GiB"
    if device.startswith("cuda") or (device == "auto" and gpus):
        if len(gpus) < count:
            there = f"this machine has {len(gpus)}" if gpus else "this machine has none"
            return Fit(False, "cuda", f"needs {count} GPU with {total} each; {there}")
        room = sorted((g.total * share for g in gpus), reverse=True)[count - 1]
        fits = need.total <= room
        verb = "fits" if fits else "does not fit"
        each = " each" if count > 1 else ""
        of = f"{room / GIB:.1f} GiB{each} ({share:.0%} of {gpus[0].name})"
        said = f"{verb}: needs {total}{each} of {of}"
        tight = [g for g in gpus if g.free < need.total]
        if fits and len(gpus) - len(tight) < count:
            said += f", but only {max(g.free for g in gpus) / GIB:.1f} GiB are free now"
        return Fit(fits, "cuda", said)
    fits = need.total <= cpu.total
    verb = "fits" if fits else "does not fit"
    said = f"{verb} main memory: needs {total} of {cpu.total / GIB:.1f} GiB"
    if fits and need.total > cpu.free:
        said += f", but only {cpu.free / GIB:.1f} GiB are free now"
    return Fit(fits, "cpu", said)
