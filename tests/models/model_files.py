"""Model directories of a few bytes: complete to the eye, without any network in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "max_position_embeddings": 32768,
    "sliding_window": 131072,
    "use_sliding_window": False,
}
"""The numbers of Qwen2.5-Coder-7B-Instruct's published configuration."""

WIDTHS = {"F32": 4, "BF16": 2, "I32": 4, "U8": 1, "F16": 2}


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """A safetensors file whose tensors are all zero."""
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        size = WIDTHS[dtype]
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(at)


def write_model(
    folder: Path,
    *,
    config: Mapping[str, Any] = QWEN,
    shards: int = 1,
    dtype: str = "BF16",
    template: bool = True,
) -> Path:
    """A directory that holds everything a model needs; ``4 x 8 x shards`` parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer: dict[str, Any] = {"model_max_length": 32768}
    if template:
        tokenizer["chat_template"] = "{{ messages }}"
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors({"w": (dtype, (4, 8))}))
        return folder
    weight_map = {}
    for k in range(shards):
        name = f"model-{k + 1:05}-of-{shards:05}.safetensors"
        weight_map[f"w{k}"] = name
        (folder / name).write_bytes(safetensors({f"w{k}": (dtype, (4, 8))}))
    index = {"metadata": {"total_size": 64 * shards}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
