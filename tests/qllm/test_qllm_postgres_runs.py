"""A whole search and a comparison on PostgreSQL: the same rows as on SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres import PostgresServer

from qllm.cli.main import run
from qllm.store.schema import Base
from qllm.store.store import open_store

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("_warm")]

TASK = "matrix/climbing"
QUICK = ["--steps", "400", "evaluation.every=200", "evaluation.episodes=4", "log_every=200",
         "--display", "none", "--json"]  # fmt: skip
SEARCH = ["run", TASK, "--seeds", "0", *QUICK, "sandbox.examples=10", "synth.seed=5",
          "synth.rounds=1", "synth.candidates=2", "synth.pilot_steps=200",
          "synth.pilot_seeds=1"]  # fmt: skip
COMPARISON = ["compare", TASK, "--algos", "vdn,iql", "--seeds", "0,1", *QUICK]

_TIMES = ("uid", "created", "started", "ended", "beat", "issued", "wall_s", "latency_s", "pid",
          "process_started", "env_steps_per_s", "command", "seconds")  # fmt: skip
"""What differs between two runs of one command on any database."""


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_times(inner)
            for name, inner in value.items()
            if name not in _TIMES and not name.endswith(("_s", "_ms", "per_s"))
        }
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _rows(url: str | None, home: Path) -> dict[str, list[Any]]:
    found = {}
    with open_store(home, url=url, readonly=True) as store, store.database.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = session.execute(sa.select(table).order_by(*table.primary_key))
            found[table.name] = [_without_times(dict(row._mapping)) for row in rows]
            if table.name == "metrics":
                found["metrics"] = [row for row in found["metrics"] if "_per_s" not in row["name"]]
    return found


def test_a_search_and_a_comparison_leave_the_same_rows_as_on_sqlite(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.new_database()
    for name, database in (("sqlite", None), ("postgres", url)):
        monkeypatch.delenv("QLLM_DB", raising=False)
        if database is not None:
            monkeypatch.setenv("QLLM_DB", database)
        for words in (SEARCH, COMPARISON):
            assert run(["--home", str(tmp_path / name), *words]) == 0
    monkeypatch.delenv("QLLM_DB")
    expected, found = _rows(None, tmp_path / "sqlite"), _rows(url, tmp_path / "postgres")
    assert [len(expected[name]) > 0 for name in ("candidates", "metrics", "runs")] == [True] * 3
    for table in expected:
        for there, row in zip(found[table], expected[table], strict=True):
            assert {name for name in row if there[name] != row[name]} == set(), (table, row["id"])
    assert not (tmp_path / "postgres" / "qllm.db").exists()
