"""Opening the run store: URLs, damage, locks, network filesystems, schema versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from qllm.store.database import open_database
from qllm.store.errors import StoreError, StoreMissingError, redact
from qllm.store.filesystems import Mount, network_filesystem
from qllm.store.schema import SCHEMA_VERSION, Base
from qllm.store.store import open_store


def _one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_new_store_is_in_wal_mode_at_the_newest_schema(tmp_path: Path) -> None:
    open_store(tmp_path / "new").close()
    with sqlite3.connect(tmp_path / "new" / "qllm.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (SCHEMA_VERSION,)
        ]


def test_a_reader_never_creates_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError, match="nothing has been run"):
        open_store(tmp_path / "none", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with (
        open_store(tmp_path, readonly=True) as store,
        pytest.raises(StoreError, match="for reading only"),
    ):
        store.commands.send(1, "stop")


def test_a_reader_sees_what_a_writer_commits_meanwhile(tmp_path: Path) -> None:
    with open_store(tmp_path) as writer, open_store(tmp_path, readonly=True) as reader:
        assert reader.runs.listed() == []
        writer.runs.create("train", "t", config={}, command="c", versions={})
        assert len(reader.runs.listed()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "no database URL"),
        ("postgres+nodriver://me:secret@host/db", "knows no database"),
        ("postgresql+psycopg://me:a@secret@host/db", "write %40"),
        ("sqlite://", "need a database in a file"),
        ("sqlite:///:memory:", "need a database in a file"),
    ],
)
def test_a_wrong_url_is_one_clear_line_without_the_password(url: str, said: str) -> None:
    with pytest.raises(StoreError) as error:
        open_database(url)
    assert said in _one_line(error)
    assert "secret" not in str(error.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StoreError) as error:
        open_database("postgresql+psycopg://me:secret@localhost/db")
    assert "pip install -e '.[postgres]'" in _one_line(error)
    assert "secret" not in str(error.value)


def test_passwords_in_urls_are_redacted() -> None:
    assert redact("postgresql://u:p%40ss@h/db and x") == "postgresql://u:***@h/db and x"
    assert redact("postgresql://u:p@ss@h/db and x") == "postgresql://u:***@h/db and x"
    assert redact("pg://h/db?user=u&password=hunter2&x=1") == "pg://h/db?user=u&password=***&x=1"


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "qllm.db"
    path.write_bytes(b"this is no database, whatever its name says" * 50)
    before = path.read_bytes()
    with pytest.raises(StoreError) as error:
        open_store(tmp_path)
    assert "damaged or no database" in _one_line(error)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "qllm.db") as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(StoreError, match="holds other tables"):
        open_store(tmp_path)
    with sqlite3.connect(tmp_path / "qllm.db") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]


def test_a_locked_store_is_said_to_be_locked(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    holder = sqlite3.connect(tmp_path / "qllm.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    database = open_database(f"sqlite:///{tmp_path / 'qllm.db'}", timeout_s=0.05)
    with pytest.raises(StoreError) as error, database.write() as session:
        session.execute(sa.text("SELECT 1"))
    assert "locked by another process" in _one_line(error)
    holder.close()
    database.close()


def test_a_home_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        open_store(tmp_path / "file" / "home")
    assert "give a folder for the runs" in _one_line(error)
    with pytest.raises(StoreError, match="is a folder"):
        open_database(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("fstype", ["nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse.sshfs"])
def test_a_network_filesystem_is_refused_with_a_hint(tmp_path: Path, fstype: str) -> None:
    table = [Mount("/", "ext4"), Mount(str(tmp_path), fstype)]
    with pytest.raises(StoreError) as error:
        open_database(f"sqlite:///{tmp_path / 'qllm.db'}", mount_table=table)
    assert fstype in _one_line(error)
    for way_out in ("--home", "$QLLM_DB", "`qllm plan`", "docs/clusters.md"):
        assert way_out in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_innermost_mount_decides() -> None:
    table = [
        Mount("/", "nfs4"),
        Mount("/data", "ext4"),
        Mount("/data/share", "fuse.sshfs"),
        Mount("/data/over", "nfs"),
        Mount("/data/over", "xfs"),
    ]
    kinds = [
        network_filesystem(Path(p), table)
        for p in ("/home/x", "/data/x", "/data/share/x", "/data/shared", "/data/over/x")
    ]
    assert kinds == ["nfs4", None, "fuse.sshfs", None, None]


def _columns(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    return {
        table: (
            sorted(
                (c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)
            ),
            sorted(str(i["name"]) + str(i["column_names"]) for i in inspector.get_indexes(table)),
            sorted(str(u["column_names"]) for u in inspector.get_unique_constraints(table)),
            sorted(str(f["constrained_columns"]) for f in inspector.get_foreign_keys(table)),
        )
        for table in inspector.get_table_names()
    }


def test_the_migrations_give_the_same_tables_as_the_schema(tmp_path: Path) -> None:
    from qllm.store.migrate import upgrade

    migrated = sa.create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with migrated.begin() as connection:
        upgrade(connection)
    open_store(tmp_path / "fresh").close()
    fresh = sa.create_engine(f"sqlite:///{tmp_path / 'fresh' / 'qllm.db'}")
    assert _columns(migrated) == _columns(fresh)
    assert set(_columns(fresh)) == {*Base.metadata.tables, "alembic_version"}


def test_the_schema_version_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    from qllm.store.migrate import MIGRATIONS

    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_VERSION


def test_runs_of_the_first_version_keep_their_folders(tmp_path: Path) -> None:
    from qllm.store.migrate import upgrade

    engine = sa.create_engine(f"sqlite:///{tmp_path / 'qllm.db'}")
    with engine.begin() as connection:
        upgrade(connection, "0001")
        for values in ("1, NULL, 1", "2, 1, 1", "3, 1, 0"):
            connection.execute(
                sa.text(
                    "INSERT INTO runs (id, parent_id, attempt, kind, task, status, config, command,"
                    " versions, inputs, created, env_steps, total_steps)"
                    f" VALUES ({values}, 'train', 't', 'stopped', '{{}}', 'c',"
                    " '{}', '{}', 0, 0, 0)"
                )
            )
    engine.dispose()
    for name in "123":
        (tmp_path / name).mkdir()
    with open_store(tmp_path, readonly=True) as store:
        begun = [store.runs.get(run_id).uid for run_id in (1, 2)]
        assert begun == [None, None]
        assert [store.run_dir(run_id).name for run_id in (1, 2)] == ["1", "2"]
        assert store.make_run_dir(2).name == "2"
        uid = store.runs.uid(3)
        assert uid, "it had not begun, so whatever is in folder 3 is somebody else's"
        assert store.make_run_dir(3).name == f"3-{uid[:8]}"


def _set_version(path: Path, version: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    _set_version(tmp_path / "qllm.db", "9999")
    for readonly in (False, True):
        with pytest.raises(StoreError) as error:
            open_store(tmp_path, readonly=readonly)
        assert "written by a newer QLLM" in _one_line(error)


@pytest.mark.parametrize("readonly", [False, True])
def test_an_older_store_is_upgraded_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readonly: bool
) -> None:
    """A second, throwaway revision plays the next release."""
    import shutil

    from qllm.store import database, migrate

    with open_store(tmp_path) as store:
        store.runs.create("train", "t", config={}, command="c", versions={})
    shutil.copytree(migrate.MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "0003_next.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision = '0003', '0002'\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('runs') as table:\n"
        "        table.add_column(sa.Column('note', sa.Text(), server_default='new'))\n"
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "migrations")
    monkeypatch.setattr(migrate.upgrade, "__defaults__", ("head", tmp_path / "migrations"))
    monkeypatch.setattr(database, "SCHEMA_VERSION", "0003")
    with open_store(tmp_path, readonly=readonly) as store:
        assert [r.id for r in store.runs.listed()] == [1]
    with sqlite3.connect(tmp_path / "qllm.db") as connection:
        assert connection.execute("SELECT note FROM runs").fetchall() == [("new",)]
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("0003",)]


def test_a_database_of_one_host_may_lie_on_a_network_filesystem(tmp_path: Path) -> None:
    table = [Mount("/", "ext4"), Mount(str(tmp_path), "nfs4")]
    path = tmp_path / "qllm.db"
    with closing(open_database(f"sqlite:///{path}", one_host=True, mount_table=table)) as database:
        with database.write() as session:
            assert session.scalar(sa.text("PRAGMA journal_mode")) == "delete"
        assert [file.name for file in tmp_path.iterdir()] == ["qllm.db"]
    with pytest.raises(StoreError, match="network filesystem"):
        open_database(f"sqlite:///{path}", mount_table=table)
