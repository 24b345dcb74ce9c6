"""Checkpoints on disk: ``tensors.safetensors`` and ``facts.json`` in a folder, written atomically.

A checkpoint is written under another name, forced to the disk and then renamed, so that whoever
looks sees a whole one or none. The previous one is removed only after that: a full disk or a kill
at any moment leaves an intact checkpoint behind. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from marl.errors import CheckpointError

_FOLDER = "checkpoints"
_TENSORS, _FACTS = "tensors.safetensors", "facts.json"


def _complete(run_dir: Path) -> list[Path]:
    """All whole checkpoints, the oldest first."""
    folder = run_dir / _FOLDER
    found = [p for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda p: int(p.name))


def latest_checkpoint(run_dir: Path | str) -> Path | None:
    """The newest whole checkpoint of a run, or None if there is none."""
    found = _complete(Path(run_dir))
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


def save_checkpoint(
    run_dir: Path | str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Path:
    """Write a new checkpoint and then remove the older ones.

    Args:
        run_dir: folder of the run, made if missing.
        tensors: by name.
        facts: what JSON can hold.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: it cannot be written; the previous one is intact.
    """
    run_dir = Path(run_dir)
    older = _complete(run_dir)
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
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    return final


def load_checkpoint(run_dir: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and facts of a run's newest checkpoint.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    path = latest_checkpoint(run_dir)
    if path is None:
        raise CheckpointError(f"no checkpoint in '{run_dir}': the run stopped before its first one")
    try:
        facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
        return load_file(path / _TENSORS), facts
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"cannot read checkpoint '{path}': {error}") from None
