"""Upgrades of a run store of an older version, step by step."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, column, select, table, text, update

from qllm.store.folders import new_uid


def _add_uids(connection: Connection) -> None:
    """A random id for every run, which the folder of its files carries.

    Runs that have begun keep the folder of their number, which carries none. What has never begun
    has no folder, and so may have an id.
    """
    connection.execute(text("ALTER TABLE runs ADD COLUMN uid TEXT"))
    runs = table("runs", column("id"), column("parent_id"), column("attempt"), column("uid"))
    waiting = select(runs.c.id).where(runs.c.attempt == 0, runs.c.parent_id.is_not(None))
    for (run_id,) in connection.execute(waiting).fetchall():
        connection.execute(update(runs).where(runs.c.id == run_id).values(uid=new_uid()))


UPGRADES: dict[str, tuple[str, Callable[[Connection], None]]] = {"0001": ("0002", _add_uids)}
"""By version the next one, and what leads to it."""


def upgrade(connection: Connection, version: str, version_table: str) -> None:
    """Bring the tables from ``version`` to the newest one within the connection's transaction."""
    while version in UPGRADES:
        version, step = UPGRADES[version]
        step(connection)
    connection.execute(text(f"UPDATE {version_table} SET version_num = :v"), {"v": version})
