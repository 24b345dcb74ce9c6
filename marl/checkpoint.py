"""Checkpoints on disk: ``tensors.safetensors`` and ``facts.json`` in a folder, written atomically.

A checkpoint is written under another name, forced to the disk and then renamed, so that whoever
looks sees a whole one or none. Older ones are removed only after that: a full disk or a kill at any
moment leaves an intact checkpoint behind. Nothing is pickled.

A checkpoint may have been put there by somebody else. It is read within bounds: facts and the sizes
of the tensors first, for the caller to believe or refuse, and tensors only after that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from marl.errors import CheckpointError
from prompts.bounded import BoundsError, open_regular, parse_json, read_json

T = TypeVar("T")

_FOLDER = "checkpoints"
_TENSORS, _FACTS = "tensors.safetensors", "facts.json"
_NUMBER = re.compile(r"[0-9]{1,18}")

FACTS_BYTES = 64 * 2**20
"""Most bytes of facts; 2 million steps with an evaluation of 64 episodes every 1,000 take 3 MB."""
HEADER_BYTES = 2**20
"""Most bytes that name the tensors; the largest networks here take 30 kB."""

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Names of safetensors for what a checkpoint may hold."""


def checkpoints(run_dir: Path | str) -> list[Path]:
    """All whole checkpoints of a run, the oldest first.

    Raises:
        CheckpointError: their folder cannot be read.
    """
    folder = Path(run_dir) / _FOLDER
    try:
        found = list(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(f"'{folder}' cannot be read: {reason}") from None
    return sorted((p for p in found if _NUMBER.fullmatch(p.name)), key=lambda p: int(p.name))


def latest_checkpoint(run_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run, or None if there is none."""
    found = checkpoints(run_dir)
    return found[-1] if found else None


def _sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to one safetensors file and force it to the disk.

    Raises:
        CheckpointError: it cannot be written.
    """
    try:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, path)
        _sync(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write '{path}': {error}") from None


def keep_numbers(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors for somebody to look at; returns the end of a message that says where."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, tensors)
    except (OSError, CheckpointError) as failure:
        return f"; the numbers could not be kept: {failure}"
    return f"; the numbers are in '{path}'"


def save_checkpoint(
    run_dir: Path | str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], keep: int = 0
) -> Path:
    """Write a new checkpoint and then remove the older ones, but for the last ``keep`` of them.

    Args:
        run_dir: folder of the run, made if missing.
        tensors: by name.
        facts: what JSON can hold.
        keep: how many older ones stay.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: it cannot be written; the previous one is intact.
    """
    run_dir = Path(run_dir)
    older = checkpoints(run_dir)
    final = run_dir / _FOLDER / f"{int(older[-1].name) + 1 if older else 1:06d}"
    draft = final.with_suffix(".draft")
    text = json.dumps(facts, indent=1, allow_nan=False)
    try:
        for stale in (run_dir / _FOLDER).glob("*.draft"):
            shutil.rmtree(stale)
        draft.mkdir(parents=True)
        save_tensors(draft / _TENSORS, tensors)
        (draft / _FACTS).write_text(text, encoding="utf-8")
        _sync(draft / _FACTS)
        _sync(draft)
        draft.rename(final)
        _sync(final.parent)
    except (OSError, CheckpointError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        kept = f"the previous one, '{older[-1]}', is intact" if older else "there is none before it"
        raise CheckpointError(f"cannot write checkpoint '{final}': {error}; {kept}") from None
    for path in older[: max(0, len(older) - keep)]:
        shutil.rmtree(path, ignore_errors=True)
    return final


class TensorSize(NamedTuple):
    """What a tensor takes."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSize:
        """The size of a tensor that is there."""
        return cls(tensor.dtype, tuple(tensor.shape))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is open for reading; its facts and sizes are yet to be believed."""

    path: Path
    facts: Any
    """From JSON."""
    sizes: Mapping[str, TensorSize]
    """By the tensors' names."""
    _descriptor: int

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The tensors (on the CPU) whose names begin with ``prefix``.

        Raises:
            CheckpointError: they cannot be read.
        """
        try:
            # By its descriptor: the file that was looked at, whatever has its name by now.
            with safe_open(f"/dev/fd/{self._descriptor}", "pt") as file:
                names = [name for name in self.sizes if name.startswith(prefix)]
                return {name: file.get_tensor(name) for name in names}
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{_TENSORS}: {error}") from None


@contextmanager
def open_checkpoint(run_dir: Path | str, path: Path | None = None) -> Iterator[Checkpoint]:
    """A run's newest checkpoint, without its tensors.

    What is raised while it is open names the checkpoint, too.

    Args:
        path: another one of `checkpoints`.

    Raises:
        CheckpointError: there is none, or it cannot be read within its bounds.
    """
    path = path or latest_checkpoint(run_dir)
    if path is None:
        raise CheckpointError(f"no checkpoint in '{run_dir}': the run stopped before its first one")
    try:
        if path.is_symlink():
            raise BoundsError("a symbolic link, where a folder is expected")
        facts = read_json(path / _FACTS, FACTS_BYTES)
        descriptor = open_regular(path / _TENSORS)
        try:
            yield Checkpoint(path, facts, _sizes(descriptor), descriptor)
        finally:
            os.close(descriptor)
    except (BoundsError, CheckpointError) as error:
        raise CheckpointError(f"checkpoint '{path}': {error}") from None


def _sizes(descriptor: int) -> dict[str, TensorSize]:
    """Names and sizes from the header of a safetensors file.

    It begins with the header's length, 8 bytes little-endian. Whether the sizes are those of the
    data is safetensors' own affair.
    """
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if length > HEADER_BYTES:
        raise BoundsError(f"{_TENSORS}: a header of {length:,} bytes, at most {HEADER_BYTES:,}")
    try:
        header = parse_json(os.pread(descriptor, length, 8).decode("utf-8"))
        entries = {k: v for k, v in header.items() if k != "__metadata__"}
        return {name: _size(entry) for name, entry in entries.items()}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise BoundsError(f"{_TENSORS}: a damaged header ({error})") from None


def _size(entry: Mapping[str, Any]) -> TensorSize:
    shape = tuple(entry["shape"])
    if not all(type(length) is int for length in shape):
        raise ValueError(f"shape {shape}")
    return TensorSize(_DTYPES[entry["dtype"]], shape)


def part_of(tensors: Mapping[str, T], name: str) -> dict[str, T]:
    """The tensors (or sizes) of one part of a checkpoint, whose names begin ``name.``, by the rest
    of it."""
    start = f"{name}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
