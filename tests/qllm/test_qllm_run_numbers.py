"""Whole runs count 1, 2, 3; a training's number is that of its run with its place: 7.2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qllm.cli.main import run
from qllm.store.errors import StoreError
from qllm.store.numbers import BELOW, run_id_of, run_name
from qllm.store.runs import RunTable
from qllm.store.schema import Run
from qllm.store.store import Store, open_store

ABOUT = {"config": {}, "command": "qllm x", "versions": {}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "home")


def made(runs: RunTable, parent: int | None = None) -> int:
    return runs.create("train", "t", parent_id=parent, algo="vdn", seed=0, **ABOUT)  # type: ignore[arg-type]


def test_runs_and_their_trainings_count_apart(store: Store) -> None:
    first = made(store.runs)
    children = [made(store.runs, first) for _ in range(3)]
    second = made(store.runs)
    more = made(store.runs, second)
    below = made(store.runs, more)
    names = [run_name(number) for number in (first, *children, second, more, below)]
    assert names == ["1", "1.1", "1.2", "1.3", "2", "2.1", "2.1.1"]
    assert [run_id_of(name) for name in names] == [first, *children, second, more, below]
    assert [r.id for r in store.runs.family(first)] == [first, *children]
    assert [r.name for r in store.runs.listed()] == names[::-1]
    assert store.run_dir(children[1]).name == "1.2"


def test_trainings_of_older_stores_keep_their_numbers(store: Store) -> None:
    top = made(store.runs)
    with store.database.write() as session:  # as the first versions numbered: everything in turn
        like = session.get_one(Run, top)
        values = {c.key: getattr(like, c.key) for c in Run.__table__.columns}
        session.add(Run(**{**values, "id": 2, "uid": None, "parent_id": top}))
    assert store.runs.get(2).name == "2"
    assert made(store.runs) == 3
    assert run_name(made(store.runs, top)) == "1.1"
    assert [r.name for r in store.runs.children(top)] == ["2", "1.1"]


def test_numbers_are_used_up_with_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qllm.store.numbers.BELOW", 2)
    made(store.runs)
    with pytest.raises(StoreError, match="used up"):
        made(store.runs)


@pytest.mark.parametrize("text", ["", "0", "x", "1.", ".1", "1.0", "1.2.3.4", "-1", "9" * 20])
def test_what_is_no_number_is_none(text: str) -> None:
    assert run_id_of(text) is None


def test_an_id_is_a_number_too() -> None:
    assert run_id_of(str(7 * BELOW + 2)) == run_id_of("7.2")


def test_commands_take_and_show_a_trainings_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home")]
    quick = ["--steps", "400", "evaluation.every=400", "evaluation.episodes=4", "--display", "none"]
    assert run([*home, "train", "matrix/climbing", "--seeds", "0-1", *quick]) == 0
    assert run([*home, "train", "matrix/climbing", *quick]) == 0
    capsys.readouterr()
    assert run([*home, "runs", "--json"]) == 0
    assert [r["number"] for r in json.loads(capsys.readouterr().out)] == ["2", "1"]
    assert run([*home, "runs", "1.2"]) == 0
    assert capsys.readouterr().out.startswith("run 1.2: train matrix/climbing, finished")
    assert run([*home, "runs", "--all"]) == 0
    assert "1.2" in capsys.readouterr().out
    assert run([*home, "report", "1.2"]) == 0
    assert run([*home, "export", "1.2"]) == 0
    assert "1.2" in capsys.readouterr().out
    assert run([*home, "resume", "1.2"]) == 2
    assert "run 1 has finished" in capsys.readouterr().err
    assert run([*home, "stop", "1.2"]) == 2
    assert "run 1.2 has ended already" in capsys.readouterr().err
    assert run([*home, "runs", "1.7"]) == 2
    assert "no run 1.7" in capsys.readouterr().err
    assert run([*home, "export", "1-2"]) == 2
    assert "'1-2' is no run's number, such as 7 or 7.2" in capsys.readouterr().err
