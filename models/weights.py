"""The weights of a model directory: safetensors files, looked at without loading any of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.protocol import ModelError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one element, by the names that the safetensors format gives its types."""

_MOST_HEADER = 100_000_000
"""The format's own limit on a header, in bytes."""

_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_POINTER = b"version https://git-lfs"
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Tensor:
    """One tensor as a header describes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shard:
    """One safetensors file."""

    name: str
    size: int
    """Bytes."""
    header_sha256: str
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Weights:
    """All weights of a model."""

    shards: tuple[Shard, ...]

    @property
    def size(self) -> int:
        """Bytes of the tensors, headers included (they are a few kilobytes)."""
        return sum(shard.size for shard in self.shards)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor of every shard."""
        return tuple(t for shard in self.shards for t in shard.tensors)

    @property
    def dtype(self) -> str:
        """The type that most bytes are stored in, as the format names it (``BF16``)."""
        count: Counter[str] = Counter()
        for tensor in self.tensors:
            count[tensor.dtype] += tensor.elements * _BITS[tensor.dtype]
        return count.most_common(1)[0][0]

    def quick_hash(self) -> str:
        """SHA-256 (hex) over names, sizes and headers. It tells different models and cut files
        apart, but not two files whose numbers differ under the same header."""
        lines = [f"{s.header_sha256} {s.size} {s.name}\n" for s in self.shards]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def full_hash(self, folder: Path) -> str:
        """SHA-256 (hex) over names and the SHA-256 of every byte; reads all files once.

        Raises:
            ModelError: a file cannot be read.
        """
        lines = [f"{file_hash(folder / s.name)} {s.name}\n" for s in self.shards]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_weights(folder: Path) -> Weights:
    """The headers of every shard that a model directory names, held against the files.

    Raises:
        ModelError: files are missing, cut short, damaged, or of a kind that is not loaded here.
    """
    weight_map: dict[str, str] | None = None
    if (folder / INDEX).is_file():
        weight_map = _index(folder / INDEX)
        names = sorted(set(weight_map.values()))
    elif (folder / SINGLE).is_file() or (folder / SINGLE).is_symlink():
        names = [SINGLE]
    else:
        raise ModelError(_no_safetensors(folder))
    shards = tuple(read_shard(folder / name) for name in names)
    if weight_map is not None:
        _hold_against_index(folder, weight_map, shards)
    weights = Weights(shards)
    if not weights.tensors:
        raise ModelError(f"'{folder}': its safetensors files hold no tensors")
    return weights


def _hold_against_index(
    folder: Path, weight_map: Mapping[str, str], shards: tuple[Shard, ...]
) -> None:
    has = {shard.name: {t.name for t in shard.tensors} for shard in shards}
    missing = [t for t, shard in weight_map.items() if t not in has[shard]]
    if missing:
        raise ModelError(
            f"'{folder / INDEX}' names {len(missing)} tensors that are not in their files"
            f" ({missing[0]} in {weight_map[missing[0]]}): the files are of different versions;"
            " fetch the model again"
        )


def _index(path: Path) -> dict[str, str]:
    document = read_json(path)
    weight_map = document.get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(name, str) for name in weight_map.values())
    ):
        raise ModelError(f"'{path}' has no weight_map: fetch this file again")
    for name in set(weight_map.values()):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(
                f"'{path}' names the file '{name}', which is no safetensors file beside it"
            )
    return dict(weight_map)


def read_shard(path: Path) -> Shard:
    """The header of one safetensors file, held against the file's size.

    Raises:
        ModelError: it is missing, cut short or damaged.
    """
    if not path.exists():
        what = "is a link to a file that is not there" if path.is_symlink() else "is missing"
        raise ModelError(f"'{path}' {what}: the model is not complete; fetch it again")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or start == _POINTER[:8] or length > min(_MOST_HEADER, size - 8):
                raise ModelError(_no_header(path, start, size))
            header = file.read(length)
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}") from None
    tensors, data = _tensors(path, header)
    there = size - 8 - length
    if data != there:
        gone = f"{data - there:,} bytes are missing" if data > there else "it is too long"
        raise ModelError(f"'{path}' is damaged: {gone} ({there:,} of {data:,}); fetch it again")
    return Shard(path.name, size, hashlib.sha256(header).hexdigest(), tensors)


def _no_header(path: Path, start: bytes, size: int) -> str:
    if start == _POINTER[:8]:
        return f"'{path}' is a git-lfs pointer, not the weights: run `git lfs pull` beside it"
    return f"'{path}' ({size:,} bytes) is no whole safetensors file: fetch it again"


def _tensors(path: Path, header: bytes) -> tuple[tuple[Tensor, ...], int]:
    """The tensors of a header, and the bytes of data that they need."""
    damaged = ModelError(f"'{path}' has a damaged safetensors header: fetch it again")
    try:
        document = json.loads(header)
    except (ValueError, RecursionError):
        raise damaged from None
    if not isinstance(document, dict):
        raise damaged
    found, spans = [], []
    for name, entry in document.items():
        if name == "__metadata__":
            continue
        try:
            dtype, (begin, end) = entry["dtype"], entry["data_offsets"]
            tensor = Tensor(name, dtype, tuple(entry["shape"]))
            bits = tensor.elements * _BITS[dtype]
        except (KeyError, TypeError, ValueError):
            raise damaged from None
        if any(type(n) is not int or n < 0 for n in (*tensor.shape, begin, end)):
            raise damaged
        if bits != 8 * (end - begin):
            raise damaged
        found.append(tensor)
        spans.append((begin, end))
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise damaged
        at = end
    return tuple(found), at


def _no_safetensors(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    if "adapter_config.json" in names:
        return (
            f"'{folder}' is an adapter (LoRA), not a whole model: merge it into its base model"
            " (peft: merge_and_unload, then save_pretrained) and give that folder"
        )
    pickled = [n for n in names if n.endswith(_PICKLED) and n != "training_args.bin"]
    if pickled:
        return (
            f"'{folder}' has only pickled weights ({pickled[0]}), which can run code when they are"
            " loaded: take the safetensors version of this model, or convert it on a machine that"
            " you can lose (transformers: save_pretrained writes safetensors)"
        )
    gguf = [n for n in names if n.endswith(".gguf")]
    if gguf:
        return (
            f"'{folder}' has GGUF weights ({gguf[0]}): take the safetensors version of this model,"
            " or serve it with llama.cpp or Ollama and add the server's URL instead"
        )
    shards = [n for n in names if n.endswith(".safetensors")]
    if shards:
        return (
            f"'{folder}' has {shards[0]} but neither {SINGLE} nor {INDEX}: the model is not"
            " complete, or in another layout than the one of transformers; fetch it again"
        )
    return f"'{folder}' has no {SINGLE} and no {INDEX}: it is no model, or not complete"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: it cannot be read, or is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ModelError(f"'{path}' is no JSON: fetch this file again") from None
    if not isinstance(document, dict):
        raise ModelError(f"'{path}' is no JSON object: fetch this file again")
    return document


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes.

    Raises:
        ModelError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
    except OSError as error:
        raise ModelError(f"'{path}' cannot be read: {error.strerror}") from None
    return digest.hexdigest()
