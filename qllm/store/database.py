"""Opening the run store's database: URL, engine, SQLite settings, schema version."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker

from qllm.extras import install_command
from qllm.json_text import encode_json
from qllm.store.errors import (
    StoreAwayError,
    StoreError,
    StoreMissingError,
    redact,
    translated,
)
from qllm.store.filesystems import Mount, network_filesystem
from qllm.store.outage import Outage, persistently
from qllm.store.schema import DAMAGE, SCHEMA_VERSION, Base
from qllm.store.types import decode_json, storable

_VERSION_TABLE = "alembic_version"
_EXTRAS = {"psycopg": "postgres"}
"""Drivers that an extra of ours installs."""


class Database:
    """A connected run store database with sessions for reading and for writing."""

    def __init__(self, engine: Engine, where: str, *, readonly: bool) -> None:
        self.engine, self.where, self.readonly = engine, where, readonly
        self.damage: dict[str, str] = {}
        """Damage of the rows read so far, by their names."""
        info = {DAMAGE: self.damage}
        self.outage: Outage | None = None
        """How a job waits for a server that is away; None: it does not."""
        # One snapshot for all of a reader's queries, as a reader of SQLite has anyway.
        postgres = engine.dialect.name == "postgresql"
        isolated = {"isolation_level": "REPEATABLE READ"} if postgres else {}
        reading = engine.execution_options(**isolated)
        writing = engine.execution_options(write=True)
        self._reader = sessionmaker(reading, expire_on_commit=False, info=info)
        self._writer = sessionmaker(writing, expire_on_commit=False, info=info)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that reads one consistent snapshot."""
        with translated(self.where), self._reader() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed as a whole at the end, or not at all.

        Raises:
            StoreAwayError: its server does not answer; nothing was written.
            StoreError: the database is locked, full, read-only or damaged.
        """
        if self.readonly:
            raise StoreError(f"run store {self.where} was opened for reading only")
        with translated(self.where), self._writer() as session:
            yield session
            self._commit(session)

    def _commit(self, session: Session) -> None:
        session.flush()
        rows: list[Any] = list(session.identity_map.values())
        try:
            session.commit()
        except DBAPIError as error:
            if self.outage is None or not error.connection_invalidated:
                raise
            self.outage.wait(StoreAwayError(f"run store {self.where} was lost in a commit"))
            if not persistently(lambda: self._has(rows), self.outage):
                raise

    def _has(self, rows: Sequence[Base]) -> bool:
        """Whether a commit with a lost answer took place: the stored rows equal ours.

        Done again, it would double new rows. Rows that are changed without having been read may be
        changed twice. (``pg_xact_status`` would not do: after a crash, PostgreSQL gives the number
        of a transaction that it has forgotten to another one.)
        """
        with self.read() as session:
            found = [session.get(type(row), inspect(row).identity) for row in rows]
        pairs = zip(rows, found, strict=True)
        return bool(rows) and all(b is not None and _facts(a) == _facts(b) for a, b in pairs)

    def damage_in_words(self, most: int = 20) -> list[str]:
        """A line for each damaged row that has been read, up to ``most``."""
        lines = [f"{place} is damaged: {words}" for place, words in self.damage.items()]
        more = len(lines) - most
        return lines if more <= 0 else [*lines[:most], f"{more} more rows are damaged"]

    def close(self) -> None:
        self.engine.dispose()


def open_database(
    url: str,
    *,
    readonly: bool = False,
    one_host: bool = False,
    timeout_s: float = 15.0,
    mount_table: Sequence[Mount] | None = None,
) -> Database:
    """Open a run store, creating or upgrading its tables when it may write.

    Args:
        url: any SQLAlchemy URL; ``sqlite:///FILE`` is the usual one.
        readonly: never create anything. A store of an older version is upgraded all the same,
            since it could not be read otherwise.
        one_host: processes of one host at a time use it, so that SQLite keeps a rollback journal
            in place of its write-ahead log, and a network filesystem will do.
        timeout_s: how long to wait for another process's lock (SQLite).
        mount_table: the mounted filesystems, for tests; those of this machine by default.

    Raises:
        StoreMissingError: ``readonly``, and there is no such file.
        StoreError: anything else that keeps the store from being used, in one line.
    """
    parsed = _parse(url)
    path = _sqlite_path(parsed)
    where = f"'{path or parsed.render_as_string(hide_password=True)}'"
    if path is not None:
        _check_file(path, readonly)
        if not one_host:
            _require_local(path, mount_table)
        if not readonly:
            _make_folder(path)
    with translated(where):
        try:
            engine = _engine(parsed, path, readonly, one_host, timeout_s)
        except ModuleNotFoundError as error:
            driver = error.name or ""
            extra = _EXTRAS.get(driver)
            if extra is None:
                raise StoreError(
                    f"run store {where} needs '{driver}', which is not installed; QLLM knows"
                    " sqlite:///FILE and postgresql+psycopg://USER@HOST/NAME"
                ) from None
            raise StoreError(
                f"run store {where} needs the Python package '{driver}', which is not installed:"
                f" {install_command(extra)}, or another database"
            ) from None
        except NoSuchModuleError:
            raise StoreError(
                f"run store {where}: SQLAlchemy knows no database '{parsed.drivername}';"
                " $QLLM_DB takes sqlite:///FILE, postgresql+psycopg://USER@HOST/NAME and the like"
            ) from None
    try:
        with translated(where):
            _prepare(engine, where, url, readonly)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, where, readonly=readonly)


def _facts(row: Base) -> list[int | str]:
    """The numbers and words of a row, as every database gives them back."""
    values = (getattr(row, column.key) for column in inspect(type(row)).column_attrs)
    return [v if isinstance(v, int) else storable(v) for v in values if isinstance(v, int | str)]


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if "@" in (parsed.host or ""):  # the rest of a password, which would be shown
            raise StoreError(f"'{redact(url)}': write %40 for an @ in the password")
        return parsed
    except (ArgumentError, ValueError):
        raise StoreError(
            f"'{redact(url)}' is no database URL: $QLLM_DB takes sqlite:///FILE,"
            " postgresql+psycopg://USER@HOST/NAME and the like"
        ) from None


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StoreError(f"run store '{url}': runs need a database in a file: give sqlite:///FILE")
    return Path(url.database).expanduser()


def _check_file(path: Path, readonly: bool) -> None:
    if path.is_dir():
        raise StoreError(f"run store '{path}' is a folder: give the database's file")
    file = next((above for above in path.parents if above.is_file()), None)
    if file is not None:
        raise StoreError(f"run store '{path}': '{file}' is a file: give a folder for the runs")
    if readonly and not path.exists():
        raise StoreMissingError(f"no run store at '{path}': nothing has been run there yet")


def _require_local(path: Path, mount_table: Sequence[Mount] | None) -> None:
    fstype = network_filesystem(path, mount_table)
    if fstype is not None:
        raise StoreError(
            f"run store '{path}' lies on a network filesystem ({fstype}), where SQLite's"
            " write-ahead log gets damaged: choose a local folder with --home or $QLLM_HOME,"
            " a PostgreSQL server with $QLLM_DB (docs/store.md), or pieces that are merged:"
            " `qllm plan`, `qllm worker`, `qllm merge` (docs/clusters.md)"
        )


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"run store '{path}': its folder cannot be made"
            f" ({error.strerror}): choose another with --home or $QLLM_HOME"
        ) from None


_JSON: Any = {"json_serializer": encode_json, "json_deserializer": decode_json}


def _engine(
    url: URL, path: Path | None, readonly: bool, one_host: bool, timeout_s: float
) -> Engine:
    if path is None:
        return create_engine(_noticing(url), pool_pre_ping=True, **_JSON)
    if readonly:
        name = "file:" + urllib.parse.quote(str(path.resolve()))
        # Without its log files, a database in a folder that cannot be written opens only as
        # one that nobody changes, since SQLite would have to make the log's index.
        idle = not path.with_name(path.name + "-wal").exists()
        frozen = idle and not os.access(path.parent, os.W_OK)
        query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if frozen else {})
        url = url.set(database=name, query=query)
    else:
        url = url.set(database=str(path))
    engine = create_engine(url, connect_args={"timeout": timeout_s}, **_JSON)

    @event.listens_for(engine, "connect")
    def _configure(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # we begin, not the driver
        connection.text_factory = _ANY_TEXT  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        if not readonly:
            cursor.execute(f"PRAGMA journal_mode={'DELETE' if one_host else 'WAL'}")
            cursor.execute(f"PRAGMA synchronous={'FULL' if one_host else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: upgrading a read lock later fails without waiting.
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _noticing(url: URL) -> URL:
    """A URL with which libpq notices in half a minute that its server's host is gone.

    By default it waits for that a quarter of an hour. What the URL itself sets stays.
    """
    if url.get_backend_name() != "postgresql" or "psycopg" not in url.get_driver_name():
        return url
    limits = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "15",
              "keepalives_interval": "5", "keepalives_count": "3"}  # fmt: skip
    return url.set(query={**limits, **url.query})


_ANY_TEXT = partial(str, encoding="utf-8", errors="replace")


def _version(connection: Connection, where: str) -> str | None:
    """The stored schema version, None for an empty database."""
    tables = inspect(connection).get_table_names()
    if _VERSION_TABLE not in tables:
        if tables:
            raise StoreError(f"run store {where}: the file holds other tables; choose another file")
        return None
    version = connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()
    return str(version) if version is not None else None


def _prepare(engine: Engine, where: str, url: str, readonly: bool) -> None:
    with engine.connect() as connection:
        version = _version(connection, where)
    if version == SCHEMA_VERSION:
        return
    if version is None:
        if readonly:
            raise StoreMissingError(f"run store {where} is empty: nothing has been run yet")
        with _alone(engine) as connection:
            if _version(connection, where) is None:  # else another process was faster
                _create(connection)
        return
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"run store {where} was written by a newer QLLM (schema {version}, this one knows"
            f" {SCHEMA_VERSION}): upgrade QLLM, or choose another folder with --home"
        )
    if readonly:
        open_database(url).close()
        return
    from qllm.store.migrate import upgrade

    with _alone(engine) as connection:
        if _version(connection, where) != SCHEMA_VERSION:
            upgrade(connection)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes the tables while no other process does."""
    with engine.execution_options(write=True).begin() as connection:
        if engine.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('qllm.schema'))"))
        yield connection


def _create(connection: Connection) -> None:
    """All tables at the newest version; equal to what the migrations give (a test holds it)."""
    Base.metadata.create_all(connection)
    connection.execute(
        text(f"CREATE TABLE {_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(
        text(f"INSERT INTO {_VERSION_TABLE} (version_num) VALUES (:v)"), {"v": SCHEMA_VERSION}
    )
