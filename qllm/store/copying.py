"""Copy of a whole run store into another database, every row of every table unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from qllm.store.database import Database
from qllm.store.errors import StoreError, redact, translated
from qllm.store.numbers import run_name
from qllm.store.runs import derived_status
from qllm.store.schema import Base, Run
from qllm.store.states import ACTIVE

_TABLES = Base.metadata.sorted_tables
_AT_ONCE = 1000


def copy_store(source: Database, target: Database) -> dict[str, int]:
    """Copy all rows in one transaction, compare both stores, and count rows by table.

    Rows are read as they are stored, and not as readers of a store see them, so that damaged ones
    stay what they are. A target with the same rows already is left alone.

    Raises:
        StoreError: a run is at work, the target is the source or holds other rows, or it cannot
            hold a row as it is; nothing was copied.
    """
    if _place(source) == _place(target):
        raise StoreError(f"{target.where} is the store that is to be copied ($QLLM_DB names it)")
    with source.read() as read, target.write() as written:
        _refuse_at_work(read)
        _lock(written)
        empty = all(written.execute(sa.select(t).limit(1)).first() is None for t in _TABLES)
        counts = dict.fromkeys((table.name for table in _TABLES), 0)
        for table in _TABLES:
            left = _rows(source, read, table)
            while rows := list(islice(left, _AT_ONCE)):
                counts[table.name] += len(rows)
                if empty:
                    _insert(target, written, table, rows)
            if empty:
                _set_sequence(written, table)
        _compare(source, read, target, written, copied=empty)
    return counts


def _place(database: Database) -> sa.URL:
    """The database's URL, the same for all that lead to one file."""
    url = database.engine.url
    if url.get_backend_name() == "sqlite":
        name = str(url.database).removeprefix("file:")
        return sa.make_url("sqlite://").set(database=str(Path(name).resolve()))
    return url.set(password=None, query={}, drivername=url.get_backend_name())


def _refuse_at_work(read: Session) -> None:
    """Refuse while a run is active: its rows would end here, and its checkpoints would not."""
    for run in read.scalars(sa.select(Run).where(Run.status.in_(ACTIVE)).order_by(Run.id)):
        if derived_status(run) in ACTIVE:
            raise StoreError(f"run {run.name} is at work: `qllm stop {run.name}` stops it")


def _lock(written: Session) -> None:
    """Lock the tables against other writers; SQLite's transaction does so by itself."""
    if _is_postgres(written):
        names = ", ".join(table.name for table in _TABLES)
        written.execute(sa.text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def _is_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _bare(table: sa.Table) -> Any:
    """The table with untyped columns, whose values are not converted."""
    return sa.table(table.name, *(sa.column(column.name) for column in table.columns))


def _rows(database: Database, session: Session, table: sa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table by column, in the order of its key."""
    bare, text = _bare(table), []
    if _is_postgres(session):  # whose driver reads JSON
        text = [c.name for c in table.columns if isinstance(getattr(c.type, "impl", 0), sa.JSON)]
    else:
        session.connection().connection.dbapi_connection.text_factory = _text  # type: ignore[union-attr]
    columns = [sa.cast(c, sa.Text).label(c.name) if c.name in text else c for c in bare.c]
    query = sa.select(*columns).order_by(*(bare.c[c.name] for c in table.primary_key))
    with translated(database.where):
        for row in session.execute(query, execution_options={"yield_per": _AT_ONCE}):
            yield dict(row._mapping)


def _text(stored: bytes) -> str | bytes:
    """SQLite's text; what is no UTF-8 stays the bytes that it is."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def _insert(
    target: Database, written: Session, table: sa.Table, rows: list[dict[str, Any]]
) -> None:
    """Add rows, or name the one that cannot be added."""
    statement, connection = sa.insert(_bare(table)), written.connection()
    if _is_postgres(written):
        flags = [c.name for c in table.columns if isinstance(c.type, sa.Boolean)]
        for row in rows if flags else ():
            row.update({n: bool(row[n]) for n in flags if row[n] in (0, 1)})
    try:
        with connection.begin_nested():
            connection.execute(statement, rows)
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated or len(rows) == 1:
            reason = redact(str(error.orig).splitlines()[0])
            raise StoreError(
                f"{_name(table, rows[0])} cannot be stored in {target.where} as it is ({reason}):"
                " mend it first; nothing was copied"
            ) from None
        for row in rows:
            _insert(target, written, table, [row])


def _name(table: sa.Table, row: Mapping[str, Any]) -> str:
    key = "-".join(str(row[column.name]) for column in table.primary_key)
    return f"run {run_name(row['id'])}" if table is Run.__table__ else f"row {key} of {table.name}"


def _set_sequence(written: Session, table: sa.Table) -> None:
    """Let PostgreSQL number new rows behind the copied ones."""
    if _is_postgres(written) and "id" in table.columns:
        sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
        rows = f"FROM {table.name} HAVING max(id) IS NOT NULL"
        written.execute(sa.text(f"SELECT setval({sequence}, max(id)) {rows}"))


def _compare(
    source: Database, read: Session, target: Database, written: Session, *, copied: bool
) -> None:
    for table in _TABLES:
        pairs = zip_longest(_rows(source, read, table), _rows(target, written, table))
        for one, other in pairs:
            if one != other:
                name = _name(table, one or other or {})
                if copied:
                    raise StoreError(
                        f"{name} would be another one in {target.where}: mend it first; nothing"
                        " was copied"
                    )
                raise StoreError(
                    f"{target.where} holds other runs already ({name} differs): give an empty"
                    " database; nothing was copied"
                )
