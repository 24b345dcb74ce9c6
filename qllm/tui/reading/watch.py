"""Looking at the store again and again, as cheaply as it allows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, text

from qllm.store.errors import StoreError, StoreMissingError
from qllm.store.store import Store, open_store

STALE_S = 1.0
"""A look is repeated after this time even if nothing was written: processes die silently, and
elapsed times pass."""


class Query(Protocol):
    """What a screen wants to know. Queries are values: equal ones show the same."""

    def read(self, store: Store, memory: dict[str, Any]) -> Any:
        """The answer, as plain frozen data.

        Args:
            store: Opened for reading only.
            memory: This query's own between two reads, empty at first: ids up to which tails were
                read, and what was read of them.

        Raises:
            StoreError: it cannot be answered; the message is shown.
        """
        ...


@dataclass(frozen=True)
class Look:
    """One answer to a query."""

    query: Query
    data: Any = None
    """``None`` where there is a problem."""
    problem: str = ""
    """Why there is no data, in a line that says what to do."""
    missing: bool = False
    """Whether there is no store yet, which is no problem but the beginning."""


class Watcher:
    """Answers queries from one store, opening it when it appears and again when it was lost.

    Args:
        home: The folder of the runs; ``None`` for the usual one.
    """

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._store: Store | None = None
        self._probe: Connection | None = None
        self._version: object = None
        self._query: Query | None = None
        self._memory: dict[str, Any] = {}
        self._read_at = 0.0

    def look(self, query: Query) -> Look | None:
        """The answer to a query, or ``None`` if it is still the last one."""
        try:
            store = self._opened()
            if query != self._query:
                self._query, self._memory, self._read_at = query, {}, 0.0
            version = self._changes(store)
            now = time.monotonic()
            fresh = version is not None and version == self._version
            if fresh and now - self._read_at < STALE_S:
                return None
            self._version, self._read_at = version, now
            return Look(query, query.read(store, self._memory))
        except StoreMissingError as error:
            return Look(query, problem=str(error), missing=True)
        except StoreError as error:
            self.close()
            return Look(query, problem=str(error))

    def close(self) -> None:
        """Let go of the store."""
        if self._probe is not None:
            self._probe.close()
        if self._store is not None:
            self._store.close()
        self._store, self._probe, self._version, self._query = None, None, None, None

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._home, readonly=True)
        return self._store

    def _changes(self, store: Store) -> object:
        """A value that changes when another connection writes; ``None`` where nothing tells."""
        engine = store.database.engine
        if engine.dialect.name != "sqlite":
            return None
        if self._probe is None:  # the counter is one connection's own, so it stays open
            self._probe = engine.connect()
        with self._probe.begin():
            return self._probe.execute(text("PRAGMA data_version")).scalar()
