"""Upgrading a run store of an older version. Imported only when there is something to upgrade."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def configuration(connection: Connection, migrations: Path = MIGRATIONS) -> Config:
    """Alembic's configuration for an open connection; there is no ini file to find."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head", migrations: Path = MIGRATIONS) -> None:
    """Bring the tables to ``revision`` within the connection's transaction."""
    command.upgrade(configuration(connection, migrations), revision)
