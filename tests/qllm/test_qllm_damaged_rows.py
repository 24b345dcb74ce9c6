"""Rows of a store that comes from elsewhere: the damaged one is named, the others are shown."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from small_store import TASK, fill_store

from qllm.cli.main import run
from qllm.display import make_display
from qllm.jobs.search_recorder import SynthesisRecorder
from qllm.store.damage import Damaged
from qllm.store.errors import StoreError
from qllm.store.runs import require_sound
from qllm.store.store import open_store

FIRST = 1_000_001
SECOND = 1_000_002
"""Trainings of run 1: 1.1 and 1.2."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.delenv("QLLM_DB", raising=False)
    monkeypatch.setenv("QLLM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    fill_store(tmp_path / "home")
    return tmp_path / "home"


def damage(home: Path, table: str, column: str, value: object, row: int = 1) -> None:
    connection = sqlite3.connect(home / "qllm.db")
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, row))
    connection.commit()
    connection.close()


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert run(list(words)) == code
    return capsys.readouterr()


RUNS = [
    ("config", "{", "config: no JSON"),
    ("config", "[1]", "config: [1] is no JSON object"),
    ("config", "5", "config: 5 is no JSON object"),
    ("config", "null", "config: None is no JSON object"),
    ("config", "[" * 100_000, "config: JSON nested more than 64 deep"),
    ("config", '{"a":' * 70 + "1" + "}" * 70, "config: JSON nested more than 64 deep"),
    ("config", '{"synth": {"rounds": 1e15}}', "config: synth.rounds: should be a valid integer"),
    ("config", '{"synth": {"rounds": 1000000000}}', "config: synth.rounds: should be less than"),
    ("inputs", '{"start": 7}', "inputs: start: should be a valid list"),
    ("inputs", '{"pilot_steps": -1}', "inputs: pilot_steps: should be greater than"),
    ("result", '{"seconds": {"model": "many"}}', "result: seconds.model: should be a valid"),
    ("result", '{"wall_s": 1e999}', "result: JSON with a number that is not finite"),
    ("result", '{"wall_s": ' + "9" * 400 + "}", "result: JSON with a whole number beyond 64 bits"),
    ("versions", b"\xff\xfe", "versions: 'utf-8' codec can't decode"),
    ("started", -1.0, "started: -1.0 is no time"),
    ("ended", 1e300, "ended: 1e+300 is no time"),
    ("beat", math.inf, "beat: inf is no number"),
    ("created", "yesterday", "created: 'yesterday' is no number"),
    ("env_steps", -7, "env_steps: -7 is no count"),
    ("total_steps", "many", "total_steps: 'many' is no count"),
    ("pid", 1.5, "pid: 1.5 is no count"),
    ("kind", "walk", "kind: 'walk' is unknown"),
    ("status", "odd", "status: 'odd' is unknown"),
    ("uid", "../../elsewhere", "uid: no such id"),
    ("parent_id", 1, "parent_id: 1 is no earlier run"),
    ("parent_id", SECOND, f"parent_id: {SECOND} is no earlier run"),
]


@pytest.mark.parametrize(("column", "value", "words"), RUNS)
def test_a_damaged_run_is_named_and_the_others_are_shown(
    column: str, value: object, words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(home, "runs", column, value)
    out, err = said(capsys, "runs", "--all")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["1.2", "1.1", "1"]
    assert "damaged" in lines[3]
    assert words in lines[3]
    assert "damaged" not in lines[1] + lines[2] + err
    documents = json.loads(said(capsys, "runs", "--all", "--json")[0])
    assert [words in (d["damage"] or "") for d in documents] == [False, False, True]

    _, err = said(capsys, "resume", "1", code=2)
    assert words in err
    assert err.count("\n") == 1
    if column == "uid":
        return  # nothing is read from a folder that it names
    out, err = said(capsys, "runs", "1")
    assert words in err
    assert f"run 1 is damaged: {column}" in err
    out, err = said(capsys, "report", "1", "--out", "r.html")
    assert Path("r.html").is_file()
    assert f"run 1 is damaged: {column}" in err


@pytest.mark.parametrize(
    ("table", "column", "value", "words"),
    [
        ("candidates", "report", "{", "row 1 of candidates is damaged: report: no JSON"),
        ("candidates", "report", '{"properties": 3}', "row 1 of candidates is damaged: report: p"),
        ("candidates", "round", "first", "row 1 of candidates is damaged: round: 'first' is no"),
        ("candidates", "created", -3.0, "row 1 of candidates is damaged: created: -3.0 is no"),
        ("verdicts", "reason", "[]", "row 1 of verdicts is damaged: reason: [] is no JSON object"),
        ("verdicts", "reason", '{"curve": [[1]]}', "row 1 of verdicts is damaged: reason: curve.0"),
        ("rounds", "started", 1e300, "row 1 of rounds is damaged: started: 1e+300 is no time"),
    ],
)
def test_a_damaged_row_of_a_search_is_named_and_the_rest_is_shown(
    table: str,
    column: str,
    value: object,
    words: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(home, table, column, value)
    for command in (["candidates", TASK], ["report", "1", "--out", "r.html"]):
        _, err = said(capsys, *command)
        assert words in err, command
    out, _ = said(capsys, "runs", "1")
    assert "rejected" in out, "the other candidate is there"
    if table == "candidates":
        _, err = said(capsys, "explain", "1", "--task", TASK, code=2)
        assert "candidate 1 is damaged" in err


@pytest.mark.parametrize(
    ("table", "column", "value", "words"),
    [
        ("evaluations", "returns", "[]", "returns: [] is no list of numbers"),
        ("evaluations", "returns", '["a"]', "returns: ['a'] is no list of numbers"),
        ("evaluations", "returns", "{", "returns: no JSON"),
        ("evaluations", "env_steps", -9, "env_steps: -9 is no count"),
        ("metrics", "value", "high", "value: 'high' is no number"),
        ("metrics", "wall_s", math.inf, "wall_s: inf is no number"),
    ],
)
def test_a_damaged_number_is_left_out_and_named(
    table: str,
    column: str,
    value: object,
    words: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = {name: Path(name).read_text() for name in _exported(capsys, "whole")[0]}
    damage(home, table, column, value)
    paths, err = _exported(capsys, "left")
    assert f"a number of run 1.1 is damaged: {words}" in err
    lost = {
        Path(path).name: len(before.splitlines()) - len(Path(path).read_text().splitlines())
        for path, before in zip(paths, whole.values(), strict=True)
    }
    assert lost[f"{table}.csv"] == (2 if table == "evaluations" else 1)
    assert sum(lost.values()) == lost[f"{table}.csv"]


def _exported(capsys: pytest.CaptureFixture[str], folder: str) -> tuple[list[str], str]:
    out, err = said(capsys, "export", "1", "--out", folder)
    return out.splitlines(), err


def test_a_return_that_was_not_finite_is_not_a_number_and_no_damage(home: Path) -> None:
    damage(home, "evaluations", "returns", "[1.0, null]")
    with open_store(home, readonly=True) as store:
        first = store.training.evaluations(FIRST)[0]
        assert first.returns[0] == 1.0
        assert math.isnan(first.returns[1])
        assert store.database.damage == {}


def test_stand_ins_are_harmless_and_say_what_was_wrong(home: Path) -> None:
    for column, value in (("config", "{"), ("started", "x"), ("env_steps", "x")):
        damage(home, "runs", column, value)
    with open_store(home, readonly=True) as store:
        one = store.runs.get(1)
    assert (one.config, one.started, one.env_steps) == ({}, 0.0, 0)
    assert all(isinstance(v, Damaged) for v in (one.config, one.started, one.env_steps))
    with pytest.raises(StoreError, match="run 1 is damaged") as caught:
        require_sound([one])
    for words in ("config: no JSON", "started: 'x' is no number", "env_steps: 'x' is no count"):
        assert words in str(caught.value)


def test_circles_of_runs_are_not_followed_for_ever(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(home, "runs", "parent_id", SECOND, row=1)
    damage(home, "runs", "parent_id", 1, row=SECOND)
    for command in ("runs 1", "runs 1.2", "report 1 --out r.html", "export 1.2 --out e"):
        said(capsys, *command.split())
    said(capsys, "resume", "1.2", code=2)


def test_a_pilot_s_score_that_cannot_be_read_is_measured_again(home: Path) -> None:
    def known() -> Any:
        with open_store(home) as store, make_display("none") as display:
            return SynthesisRecorder(store, 1, 1, display).known_scores()

    whole = {"key": "r0.s0.0", "finals": [1.0], "areas": [1.0], "final_mean": 1.0}
    whole |= {"curve": [[0, 1.0]], "graph_hash": "a" * 64, "steps": 100}
    damage(home, "verdicts", "reason", json.dumps(whole))
    assert list(known()) == [("a" * 64, 100)]
    for lost in ("curve", "graph_hash", "steps", "finals"):
        rest = {k: v for k, v in whole.items() if k != lost}
        damage(home, "verdicts", "reason", json.dumps(rest))
        assert known() == {}


def test_many_damaged_rows_are_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_store(home) as store:
        for _ in range(30):
            store.runs.create("train", "t", config={}, command="c", versions={}, parent_id=1)
    connection = sqlite3.connect(home / "qllm.db")
    connection.execute("UPDATE runs SET created = -1")
    connection.commit()
    _, err = said(capsys, "runs", "1")
    assert err.count("is damaged: created") == 20
    assert "13 more rows are damaged" in err
