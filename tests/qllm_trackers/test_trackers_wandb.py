"""Weights & Biases: what its files hold offline, and what is left out online."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_trackers_background import loss, tracked

from qllm.trackers.points import EvaluationPoint
from qllm.trackers.wandb import WandbTracker

POINTS = (EvaluationPoint(1, 0, 0.0, (1.0, 3.0)), loss(10), loss(20, None))


@pytest.fixture(autouse=True)
def _without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


class FakeRun:
    def __init__(self, step: int) -> None:
        self.step, self.resumed = step, step > 0
        self.rows: dict[int, dict[str, float]] = {}
        self.summary: dict[str, str] = {}
        self.exit_code: int | None = None

    def log(self, values: dict[str, float], step: int) -> None:
        self.rows[step] = values

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code


def _faked(monkeypatch: pytest.MonkeyPatch, step: int = 0) -> dict[str, Any]:
    """A module wandb whose server has rows up to a step; returns what `init` is given."""
    given: dict[str, Any] = {}

    def init(**how: Any) -> FakeRun:
        given.update(how, run=FakeRun(step))
        return given["run"]

    module = SimpleNamespace(init=init, Settings=lambda **how: how)
    monkeypatch.setitem(sys.modules, "wandb", module)
    return given


def test_an_online_run_is_gone_on_with_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _faked(monkeypatch, step=11)  # rows up to step 10
    tracker = WandbTracker()
    tracker.begin(tracked(tmp_path, *POINTS, wandb_mode="online", project="mine"))
    tracker.add([loss(30)])
    tracker.finish("failed")
    assert given["id"] == "0123456789abcdef" * 2
    assert (given["resume"], given["mode"], given["project"]) == ("allow", "online", "mine")
    assert (given["name"], given["group"]) == ("vdn, seed 3", "run-1-01234567")
    assert given["config"]["learner"] == {"lr": 0.5, "gamma": None}
    run = given["run"]
    assert list(run.rows) == [20, 30]
    assert run.rows[30] == {"train/loss": 1.0, "wall_s": 3.0}
    assert (run.exit_code, run.summary) == (1, {"status": "failed"})


def test_it_is_offline_unless_the_settings_or_a_variable_say_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _faked(monkeypatch)

    def mode(**settings: str) -> str:
        WandbTracker().begin(tracked(tmp_path, **settings))
        return str(given["mode"])

    assert mode() == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert mode() == "online"
    assert mode(wandb_mode="offline") == "offline"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of an offline file, which are protobuf records in the framing of LevelDB's log."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            parsed = wandb_internal_pb2.Record()
            parsed.ParseFromString(record)
            if parsed.WhichOneof("record_type") == "history":
                items = parsed.history.item
                yield {"/".join(i.nested_key) or i.key: i.value_json for i in items}
            record = b""


def test_offline_the_last_attempt_has_the_whole_training_and_needs_no_account(
    tmp_path: Path,
) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    first = WandbTracker()
    first.begin(tracked(tmp_path))
    first.add([*POINTS, loss(30, 7.0)])
    first.finish("stopped")
    second = WandbTracker()
    second.begin(tracked(tmp_path, *POINTS, attempt=2))  # from a checkpoint at step 20
    second.add([loss(30, 8.0)])
    second.finish("finished")
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 20  # W&B's own process writes it
    while len(rows := list(_rows(file))) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    assert [row["_step"] for row in rows] == ["0", "10", "20", "30"]
    assert rows[0]["eval/return_mean"] == "2"
    assert rows[2]["train/loss"] in ("NaN", '"NaN"')
    assert (rows[3]["train/loss"], rows[3]["wall_s"]) == ("8", "3")
