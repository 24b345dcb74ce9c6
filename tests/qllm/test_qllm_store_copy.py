"""``qllm store copy``: all of a run store in another database, or nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from interrupted import interrupted_at
from postgres import PASSWORD, PostgresServer
from recorded import everything
from small_store import fill_store

from qllm.cli.main import run
from qllm.store.store import open_store
from qllm.store.training import MetricPoint


@pytest.fixture
def filled(home: Path) -> Path:
    """A home folder with runs 1, 1.1, 1.2 and one of everything."""
    fill_store(home)
    with open_store(home) as store:
        store.commands.send(1, "stop", {"advice": "€ \ud800 \0"})
        store.runs.begin(1)
        store.runs.finish(1, "stopped", error="ends with a surrogate \ud800")
    return home


def copied(home: Path, url: str) -> int:
    """The exit code of copying."""
    return run(["store", "copy", url, "--home", str(home)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def rows(home: Path, url: str | None = None) -> dict[str, Any]:
    """All rows, as a reader sees them."""
    with open_store(home, url=url, readonly=True) as store:
        return {table: sorted(found, key=repr) for table, found in everything(store).items()}


def poke(path: Path, statement: str, *values: object) -> None:
    """Change a SQLite store behind its back."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints=1")
        connection.execute(statement, values)


def test_a_copy_in_sqlite_has_every_row_and_goes_on(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    before, file = rows(filled), tmp_path / "other" / "copy.db"
    assert run(["store", "copy", f"sqlite:///{file}", "--home", str(filled), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["database"] == str(file)
    assert document["rows"] == {name: len(found) for name, found in before.items()}
    assert all(document["rows"].values())
    assert rows(filled) == before
    monkeypatch.setenv("QLLM_DB", f"sqlite:///{file}")
    assert rows(filled) == before
    assert run(["runs", "1", "--home", str(filled)]) == 0
    with open_store(filled) as store:
        assert store.runs.create("train", "t", config={}, command="c", versions={}) == 2


def test_a_second_copy_finds_the_same_and_other_runs_are_left_alone(
    filled: Path, tmp_path: Path, capsys: Any
) -> None:
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    assert (copied(filled, url), copied(filled, url)) == (0, 0)
    capsys.readouterr()
    with open_store(filled) as store:
        store.training.record_metrics(1, 1, [MetricPoint(1, 0.1, "new", 1.0)])
    before = rows(filled, url)
    assert copied(filled, url) == 2
    assert "holds other runs already (row 3 of metrics differs)" in said(capsys)
    assert rows(filled, url) == before


def test_a_store_at_work_is_refused_by_name(filled: Path, tmp_path: Path, capsys: Any) -> None:
    with open_store(filled) as store:
        store.runs.begin(1_000_002)
    file = tmp_path / "copy.db"
    assert copied(filled, f"sqlite:///{file}") == 2
    assert "run 1.2 is at work: `qllm stop 1.2` stops it" in said(capsys)
    assert not any(rows(filled, f"sqlite:///{file}").values())


def test_what_cannot_be_a_target_is_refused(filled: Path, tmp_path: Path, capsys: Any) -> None:
    assert copied(filled, f"sqlite:///{filled / '.' / 'qllm.db'}") == 2
    assert "is the store that is to be copied" in said(capsys)
    assert copied(filled, "nonsense") == 2
    assert "no database URL" in said(capsys)
    other = tmp_path / "other.db"
    poke(other, "CREATE TABLE things (id INTEGER)")
    assert copied(filled, f"sqlite:///{other}") == 2
    assert "holds other tables" in said(capsys)
    assert copied(tmp_path / "none", "sqlite:///x.db") == 2
    assert "no run store at" in said(capsys)


DAMAGES = [
    ("UPDATE runs SET config = '{broken' WHERE id = 1", "run 1"),
    ("UPDATE runs SET created = 'yesterday' WHERE id = 1000001", "run 1.1"),
    ("UPDATE metrics SET env_steps = 2.5 WHERE id = 1", "row 1 of metrics"),
    ("UPDATE messages SET streaming = 7 WHERE id = 2", "row 2 of messages"),
    ("UPDATE messages SET content = X'ff41' WHERE id = 1", "row 1 of messages"),
    ("UPDATE messages SET content = CAST(X'ff42' AS TEXT) WHERE id = 2", "row 2 of messages"),
    ("UPDATE evaluations SET returns = '[\"a\", NaN]' WHERE id = 1", "row 1 of evaluations"),
    ("UPDATE runs SET parent_id = 99 WHERE id = 1000002", "run 1.2"),
]


def stored(path: Path) -> list[Any]:
    """What SQLite holds, with its types."""
    with sqlite3.connect(path) as connection:
        connection.text_factory = bytes
        tables = ["runs", "messages", "metrics", "evaluations"]
        return [connection.execute(f"SELECT * FROM {t} ORDER BY id").fetchall() for t in tables]


def test_damaged_rows_stay_what_they_are_in_sqlite(filled: Path, tmp_path: Path) -> None:
    for statement, _ in DAMAGES[:-1]:
        poke(filled / "qllm.db", statement)
    assert copied(filled, f"sqlite:///{tmp_path / 'copy.db'}") == 0
    assert stored(tmp_path / "copy.db") == stored(filled / "qllm.db")
    assert rows(filled, f"sqlite:///{tmp_path / 'copy.db'}").keys() == rows(filled).keys()


def test_a_row_of_no_run_is_named(filled: Path, tmp_path: Path, capsys: Any) -> None:
    poke(filled / "qllm.db", DAMAGES[-1][0])
    assert copied(filled, f"sqlite:///{tmp_path / 'copy.db'}") == 2
    assert "run 1.2 cannot be stored" in said(capsys)
    assert not any(rows(filled, f"sqlite:///{tmp_path / 'copy.db'}").values())


@pytest.mark.long
def test_to_a_server_and_back(
    filled: Path, tmp_path: Path, postgres: PostgresServer, monkeypatch: Any, capsys: Any
) -> None:
    url, before = postgres.new_database(), rows(filled)
    assert copied(filled, url) == 0
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err
    assert "***" in printed.out
    assert rows(filled, url) == before
    assert copied(filled, url) == 0
    monkeypatch.setenv("QLLM_DB", url)
    back = tmp_path / "back.db"
    assert copied(filled, f"sqlite:///{back}") == 0
    assert stored(back) == stored(filled / "qllm.db")
    with open_store(filled) as store:  # numbers go on behind those that were copied
        assert store.runs.create("synth", "t", config={}, command="c", versions={}) == 2
        store.training.record_metrics(2, 1, [MetricPoint(1, 0.1, "m", 1.0)])
        store.synthesis.record_verdict(2, 1, "gate", "gate", reason={})
        store.commands.send(2, "stop")
    assert copied(filled, url) == 2  # what $QLLM_DB names is the source
    assert "is the store that is to be copied" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize(("statement", "name"), DAMAGES)
def test_a_row_that_a_server_cannot_hold_is_named(
    filled: Path, postgres: PostgresServer, capsys: Any, statement: str, name: str
) -> None:
    url = postgres.new_database()
    poke(filled / "qllm.db", statement)
    assert copied(filled, url) == 2
    words = said(capsys)
    assert f"{name} " in words
    assert "nothing was copied" in words
    assert PASSWORD not in words
    assert not any(rows(filled, url).values())


@pytest.mark.long
def test_a_wrong_password_is_one_line_without_it(
    filled: Path, postgres: PostgresServer, capsys: Any
) -> None:
    url = sa.make_url(postgres.new_database()).set(password="swordfish")
    assert copied(filled, url.render_as_string(hide_password=False)) == 2
    words = said(capsys)
    assert "the server refuses this user and password" in words
    assert "swordfish" not in words


@pytest.mark.long
def test_a_run_that_was_cut_off_goes_on_in_the_copy(
    home: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--steps", "800", "learner.batch_size=8", "agent.hidden=8", "log_every=200"]
    words += ["checkpoint_every=200", "--display", "none", "--home", str(home)]
    with monkeypatch.context() as patch:
        interrupted_at(patch, 400)
        assert run(["train", "matrix/climbing", *words]) == 130
    url = postgres.new_database()
    assert copied(home, url) == 0
    monkeypatch.setenv("QLLM_DB", url)
    assert run(["resume", "1", "--display", "none", "--home", str(home)]) == 0
    with open_store(home) as store:
        assert [run.status for run in store.runs.family(1)] == ["finished", "finished"]
        assert store.runs.attempts(1_000_001)[-1].resumed_at >= 200
