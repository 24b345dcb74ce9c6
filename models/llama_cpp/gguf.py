"""The header of a GGUF file, read without loading the model.

A header is data from outside: every length in it is held against what is left of the file before
anything is read. Format: version 3 of the GGUF specification (ggml, ``docs/gguf.md``).
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.protocol import ModelError
from models.token_choice import Sampling
from models.weights import file_hash

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 100_000
_MOST_DEPTH = 2
_MOST_ELEMENTS = 8_000_000
"""Of all arrays of texts together; vocabularies have some hundred thousand."""
_MOST_PARTS = 1_000
_KEPT = 1_024
"""Elements of an array that are kept; a longer one is passed over."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBERS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"
}  # fmt: skip
"""`struct` codes of the numeric types of metadata."""
_TEXT, _ARRAY = 8, 9

_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Tensor types: name, elements of a block, bytes of a block."""

_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")

_MODEL_TYPES = {
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5",
    "qwen35moe": "qwen3_5_moe",
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "deepseek2": "deepseek_v2",
    "gpt-oss": "gpt_oss",
    "glm4moe": "glm4_moe",
    "granitehybrid": "granitemoehybrid",
    "granitemoe": "granitemoe",
    "mistral3": "mistral3",
}
"""GGUF's names of architectures that differ from config.json's ``model_type``."""


@dataclass(frozen=True)
class Gguf:
    """What a file says of its model."""

    path: Path
    size: int
    """Bytes, of all parts of a model that is split."""
    metadata: Mapping[str, Any]
    """By key; long arrays are their lengths (`Length`)."""
    parameters: int
    dtype: str
    """Type that most bytes of the tensors have, such as ``Q4_K``."""
    header_sha256: str
    """Over the bytes before the tensors' data."""

    @property
    def architecture(self) -> str:
        """``general.architecture``, such as ``qwen2``."""
        return str(self.metadata["general.architecture"])

    @property
    def name(self) -> str:
        """``general.name`` as far as it can be shown, or nothing."""
        name = str(self.metadata.get("general.name", ""))[:100]
        return "".join(c if c.isprintable() else " " for c in name)

    @property
    def title(self) -> str:
        """The file's name and the model's own."""
        return f"{self.path.stem} {self.name}".strip()

    @property
    def chat_template(self) -> str:
        """Its chat template in Jinja, or nothing."""
        return str(self.metadata.get("tokenizer.chat_template", ""))

    def of_architecture(self, key: str) -> Any:
        """A value under the architecture's own prefix; None if there is none."""
        return self.metadata.get(f"{self.architecture}.{key}")

    @property
    def sampling(self) -> Sampling | None:
        """How its makers recommend to sample; None where an older file does not say."""
        keys = ("top_k", "top_p")
        found = {key: self.metadata.get(f"general.sampling.{key}") for key in keys}
        return Sampling.of(found) if any(v is not None for v in found.values()) else None

    def full_hash(self) -> str:
        """SHA-256 (hex) over every byte of every part; reads them all once."""
        digests = [file_hash(part) for part in _parts(self.path)]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def config(self) -> dict[str, Any]:
        """The same in the words of a config.json, as far as presets and memory need it."""
        heads = self.of_architecture("attention.head_count")
        kv_heads = self.of_architecture("attention.head_count_kv")
        found = {
            "model_type": _MODEL_TYPES.get(self.architecture, self.architecture),
            "num_hidden_layers": self.of_architecture("block_count"),
            "num_attention_heads": _most(heads),
            "num_key_value_heads": _most(kv_heads),
            "head_dim": self.of_architecture("attention.key_length"),
            "hidden_size": self.of_architecture("embedding_length"),
            "max_position_embeddings": self.of_architecture("context_length"),
            "sliding_window": self.of_architecture("attention.sliding_window"),
        }
        numbers = {k: v for k, v in found.items() if type(v) is int and 0 < v < 1 << 31}
        return {"model_type": found["model_type"], **numbers}


@dataclass(frozen=True)
class Length:
    """An array of metadata that was passed over: its number of elements."""

    elements: int


def is_gguf(path: Path) -> bool:
    """Whether a file calls itself GGUF, by its name or its first bytes."""
    if path.suffix == ".gguf":
        return True
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read_gguf(path: Path) -> Gguf:
    """Read a file's header, and hold its size against what the header says.

    Raises:
        ModelError: it is no GGUF file, it is cut short, or parts of it are missing.
    """
    parts = _parts(path)
    heads = [_header(part, part.stat().st_mtime_ns, part.stat().st_size) for part in parts]
    tensors = [tensor for head in heads for tensor in head.tensors]
    parameters = sum(tensor.elements for tensor in tensors)
    if not parameters:
        raise ModelError(f"'{path}' holds no numbers: it is no model")
    if not _NAME.fullmatch(str(heads[0].metadata.get("general.architecture", ""))):
        raise ModelError(f"'{path}' does not name its architecture: its header is damaged")
    count: Counter[str] = Counter()
    for tensor in tensors:
        count[tensor.dtype] += tensor.size or 0
    digest = hashlib.sha256("".join(head.sha256 for head in heads).encode())
    return Gguf(
        path,
        sum(part.stat().st_size for part in parts),
        heads[0].metadata,
        parameters,
        count.most_common(1)[0][0],
        digest.hexdigest() if len(heads) > 1 else heads[0].sha256,
    )


def _parts(path: Path) -> list[Path]:
    """All files of a model, of which the first is named."""
    found = _SPLIT.search(path.name)
    if found is None:
        return [path]
    number, of = map(int, found.groups())
    stem = path.name[: found.start()]
    if number != 1:
        first = path.with_name(f"{stem}-00001-of-{of:05}.gguf")
        raise ModelError(f"'{path}' is part {number} of {of}: give the first part, '{first}'")
    if of > _MOST_PARTS:
        raise ModelError(f"'{path}' is said to have {of:,} parts: no model has so many")
    parts = [path.with_name(f"{stem}-{i:05}-of-{of:05}.gguf") for i in range(1, of + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        more = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
        names = ", ".join(missing[:3]) + more
        raise ModelError(f"'{path}' is the first of {of} parts, and of these {names} are missing")
    return parts


def _most(value: Any) -> Any:
    """A number that some architectures give for every layer: the largest."""
    numbers = value if isinstance(value, list) else [value]
    return max((v for v in numbers if type(v) is int), default=None)


@dataclass(frozen=True)
class _Tensor:
    elements: int
    dtype: str
    size: int | None
    """Bytes; None for a type that is not known here."""


class _Header:
    """One file's header."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._elements = path, 0, 0
        self._digest = hashlib.sha256()
        # Read, not mapped: a file that is cut meanwhile ends the process that has it mapped.
        with path.open("rb") as self._file:
            self._total = os.fstat(self._file.fileno()).st_size
            if self._total < len(MAGIC) or self._take(len(MAGIC)) != MAGIC:
                raise ModelError(f"'{path}' is no GGUF file: it does not begin with GGUF")
            try:
                self._read()
            except _Cut:
                raise ModelError(
                    f"'{path}' is cut short within its header, at {self._total:,} bytes: fetch"
                    " it again"
                ) from None

    def _read(self) -> None:
        (version,) = self._numbers("I")
        if version not in _VERSIONS:
            raise ModelError(
                f"'{self._path}' is GGUF of version {version}: versions 2 and 3 are read here"
            )
        tensors, entries = self._numbers("QQ")
        if entries > _MOST_ENTRIES or tensors > _MOST_ENTRIES:
            raise ModelError(
                f"'{self._path}' names {entries:,} settings and {tensors:,} tensors: its header is"
                " damaged"
            )
        self.metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self._text()
            if key in self.metadata:
                raise ModelError(f"'{self._path}' says {key!r} twice: its header is damaged")
            (kind,) = self._numbers("I")
            self.metadata[key] = self._value(kind, 0)
        self.tensors: list[_Tensor] = []
        ends: list[int] = [0]
        for _ in range(tensors):
            self._text()
            (axes,) = self._numbers("I")
            if axes > 8:
                raise ModelError(f"'{self._path}': a tensor of {axes} axes: its header is damaged")
            elements = math.prod(self._numbers(f"{axes}Q"))
            kind, offset = self._numbers("IQ")
            name, block, size = _TYPES.get(kind, (f"type {kind}", 1, 0))
            known = -(-elements // block) * size if kind in _TYPES else None
            self.tensors.append(_Tensor(elements, name, known))
            ends.append(offset + (known or 0))
        self.sha256 = self._digest.hexdigest()
        align = self.metadata.get("general.alignment", 32)
        align = align if isinstance(align, int) and 0 < align <= 1 << 20 else 32
        whole = -(-self._at // align) * align + max(ends)
        if whole > self._total:
            raise ModelError(
                f"'{self._path}' is cut short: {whole - self._total:,} of {whole:,} bytes are"
                " missing; fetch it again"
            )

    def _take(self, n: int) -> bytes:
        """The next bytes."""
        if n > self._total - self._at:
            raise _Cut
        data = self._file.read(n)
        if len(data) < n:
            raise _Cut
        self._at += n
        self._digest.update(data)
        return data

    def _skip(self, n: int) -> None:
        """Pass over bytes, a few at a time."""
        if n > self._total - self._at:
            raise _Cut
        while n > 0:
            n -= len(self._take(min(n, 1 << 20)))

    def _numbers(self, code: str) -> tuple[Any, ...]:
        code = "<" + code
        return struct.unpack(code, self._take(struct.calcsize(code)))

    def _text(self) -> str:
        (n,) = self._numbers("Q")
        return self._take(n).decode("utf-8", errors="replace")

    def _value(self, kind: int, depth: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            return self._array(depth)
        if kind not in _NUMBERS:
            raise ModelError(f"'{self._path}': metadata of type {kind}: its header is damaged")
        return self._numbers(_NUMBERS[kind])[0]

    def _array(self, depth: int) -> Any:
        kind, n = self._numbers("IQ")
        if depth >= _MOST_DEPTH:
            raise ModelError(f"'{self._path}' nests arrays too deeply: its header is damaged")
        if kind in _NUMBERS:
            code = _NUMBERS[kind]
            if n > _KEPT:
                self._skip(n * struct.calcsize(code))
                return Length(n)
            return list(self._numbers(f"{n}{code}"))
        self._elements += n
        if self._elements > _MOST_ELEMENTS:
            raise ModelError(
                f"'{self._path}' lists {self._elements:,} texts: its header is damaged"
            )
        if n <= _KEPT:
            return [self._value(kind, depth + 1) for _ in range(n)]
        for _ in range(n):
            self._value(kind, depth + 1)
        return Length(n)


@lru_cache(maxsize=16)
def _header(path: Path, changed_ns: int, size: int) -> _Header:
    """Read once for each state of a file: a vocabulary takes a third of a second."""
    return _Header(path)


class _Cut(Exception):
    """A length goes beyond the end of the file."""
