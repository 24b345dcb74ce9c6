"""The tiny random model as a GGUF file, written by hand: what llama.cpp is tested with."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tiny_model import CHAT_TEMPLATE, END, PAD, build_tiny_model

_UINT, _FLOAT, _BOOL, _TEXT, _ARRAY, _INT = 4, 6, 7, 8, 9, 5
_OF_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def build_tiny_gguf(
    folder: Path,
    *,
    context: int = 4096,
    token_types: Mapping[str, int] | None = None,
    **changed: Any,
) -> Path:
    """Write ``tiny.gguf``.

    Args:
        folder: where to; the model's safetensors are put there, too.
        context: most tokens of a conversation.
        token_types: of tokens that are to have others than 3 (control) and 1.
        changed: metadata to write instead, by key with ``_`` for ``.``; None leaves it out.
    """
    model = build_tiny_model(folder / "safetensors", context=context)
    document = json.loads((model / "tokenizer.json").read_text())["model"]
    vocabulary = sorted(document["vocab"], key=document["vocab"].__getitem__)
    ids = document["vocab"]
    types = {PAD: 3, "<|im_start|>": 3, END: 3, **(token_types or {})}
    merges = [m if isinstance(m, str) else " ".join(m) for m in document["merges"]]
    metadata: dict[str, tuple[int, Any]] = {
        "general.architecture": (_TEXT, "qwen3"),
        "general.name": (_TEXT, "Tiny Qwen3"),
        "qwen3.block_count": (_UINT, 2),
        "qwen3.context_length": (_UINT, context),
        "qwen3.embedding_length": (_UINT, 128),
        "qwen3.feed_forward_length": (_UINT, 256),
        "qwen3.attention.head_count": (_UINT, 4),
        "qwen3.attention.head_count_kv": (_UINT, 2),
        "qwen3.attention.key_length": (_UINT, 32),
        "qwen3.attention.value_length": (_UINT, 32),
        "qwen3.rope.freq_base": (_FLOAT, 10000.0),
        "qwen3.attention.layer_norm_rms_epsilon": (_FLOAT, 1e-6),
        "tokenizer.ggml.model": (_TEXT, "gpt2"),
        "tokenizer.ggml.pre": (_TEXT, "default"),
        "tokenizer.ggml.tokens": (_ARRAY, (_TEXT, vocabulary)),
        "tokenizer.ggml.token_type": (
            _ARRAY,
            (_INT, [types.get(token, 1) for token in vocabulary]),
        ),
        "tokenizer.ggml.merges": (_ARRAY, (_TEXT, merges)),
        "tokenizer.ggml.eos_token_id": (_UINT, ids[END]),
        "tokenizer.ggml.padding_token_id": (_UINT, ids[PAD]),
        "tokenizer.ggml.add_bos_token": (_BOOL, False),
        "tokenizer.chat_template": (_TEXT, CHAT_TEMPLATE),
    }
    for key, value in changed.items():
        name = next(known for known in metadata if known.replace(".", "_") == key)
        if value is None:
            del metadata[name]
        else:
            metadata[name] = (metadata[name][0], value)
    tensors = {_named(k): v for k, v in load_file(model / "model.safetensors").items()}
    path = folder / "tiny.gguf"
    path.write_bytes(_document(metadata, tensors))
    return path


def _named(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_OF_LAYER[rest.removesuffix('.weight')]}.weight"


def _document(metadata: dict[str, tuple[int, Any]], tensors: dict[str, np.ndarray]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        head += _text(key) + struct.pack("<I", kind) + _value(kind, value)
    data = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, len(data))
        data += tensor.astype("<f4").tobytes()
        data += bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + data


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind: int, value: Any) -> bytes:
    if kind == _TEXT:
        return _text(value)
    if kind == _ARRAY:
        inner, values = value
        head = struct.pack("<IQ", inner, len(values))
        return head + b"".join(_value(inner, v) for v in values)
    return struct.pack({_UINT: "<I", _FLOAT: "<f", _BOOL: "<?", _INT: "<i"}[kind], value)
