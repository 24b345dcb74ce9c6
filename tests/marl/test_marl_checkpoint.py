"""Checkpoint files: whole or not there, and refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from marl_toys import saved_state

from marl.checkpoint import latest_checkpoint, save_checkpoint
from marl.errors import CheckpointError
from marl.snapshot import read_facts

TENSORS = {"a": torch.arange(6).view(2, 3), "flag": torch.tensor([True, False])}


def test_tensors_and_facts_come_back_as_they_were(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, TENSORS, {"x": 0.1 + 0.2, "list": [1, 2]})
    tensors, facts = saved_state(tmp_path)
    assert {p.name for p in path.iterdir()} == {"tensors.safetensors", "facts.json"}
    assert facts == {"x": 0.1 + 0.2, "list": [1, 2]}
    assert all(torch.equal(tensors[k], TENSORS[k]) for k in TENSORS)


def test_a_draft_is_not_a_checkpoint_and_is_cleared_away(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, TENSORS, {"n": 1})
    draft = tmp_path / "checkpoints" / "000002.draft"
    draft.mkdir()
    (draft / "facts.json").write_text("{")
    assert saved_state(tmp_path)[1] == {"n": 1}
    save_checkpoint(tmp_path, TENSORS, {"n": 2})
    assert saved_state(tmp_path)[1] == {"n": 2}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_numbers_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("999999", "1000000"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "1000000"


@pytest.mark.parametrize("step", ["write_text", "rename"])
def test_a_failure_while_writing_keeps_the_previous_one(
    step: str, tmp_path: Path, monkeypatch: Any
) -> None:
    save_checkpoint(tmp_path, TENSORS, {"n": 1})

    def fail(*args: Any, **more: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(CheckpointError, match=r"Read-only file system; .*000001', is intact"):
        save_checkpoint(tmp_path, TENSORS, {"n": 2})
    monkeypatch.undo()
    assert saved_state(tmp_path)[1] == {"n": 1}
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CheckpointError, match="/checkpoints' cannot be read: not a directory"
    ) as caught:
        save_checkpoint(tmp_path / "file", TENSORS, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["facts.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", [b"", b"{", None])
def test_a_damaged_checkpoint_is_refused(name: str, damage: bytes | None, tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, TENSORS, {"n": 1}) / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(CheckpointError, match=r"checkpoint '.*/000001': "):
        saved_state(tmp_path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [([], "format None"), ({"format": 99}, "format 99"), ({"format": 1}, "damaged: facts.task")],
)
def test_facts_that_are_not_ours_are_refused(facts: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_facts(json.loads(json.dumps(facts)))
