"""Polling of the store at the lowest cost.

SQLAlchemy is imported when the store is first opened, which happens in the reader's thread once
something is on the screen already.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qllm.store.store import Store

STALE_S = 1.0
"""A look is repeated after this time even if nothing was written: processes die silently, and
elapsed times pass."""

LOCKED_S = 2.0
"""Timeout for a lock of the database."""

MORE = "more"
"""In a query's memory, set by its ``read``: it has more to read, so look again soon."""

_REMEMBERED = 8
"""Of how many topics the memory is kept."""


class Query(Protocol):
    """A screen's query, a value: equal queries have equal answers.

    A query may have an attribute ``topic``; queries of one topic share their memory, and without
    one, a query's memory is its own.
    """

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
    """Whether there is no store yet, which is no problem."""


class Watcher:
    """Answers queries from one store, opening it when it appears and again when it was lost.

    Args:
        home: The folder of the runs; ``None`` for the usual one.
        locked_s: How long to wait for another process's lock.
    """

    def __init__(self, home: Path | None, *, locked_s: float = LOCKED_S) -> None:
        self._home, self._locked_s = home, locked_s
        self._store: Store | None = None
        self._probe: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: object = None
        self._query: Query | None = None
        self._memories: OrderedDict[Any, dict[str, Any]] = OrderedDict()
        self._read_at = 0.0

    def look(self, query: Query) -> Look | None:
        """The answer to a query, or ``None`` if it is still the last one."""
        from qllm.store.errors import StoreError, StoreMissingError, translated

        try:
            store = self._opened()
            with translated(store.database.where):
                version = self._changes(store)
            now, memory = time.monotonic(), self._memory(query)
            fresh = version is not None and version == self._version and query == self._query
            if fresh and not memory.get(MORE) and now - self._read_at < STALE_S:
                return None
            memory[MORE] = False
            self._version, self._read_at, self._query = version, now, query
            return Look(query, query.read(store, memory))
        except StoreMissingError as error:
            self.close()
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
        self._memories.clear()

    def _memory(self, query: Query) -> dict[str, Any]:
        topic = getattr(query, "topic", query)
        if topic not in self._memories:
            self._memories[topic] = {}
            while len(self._memories) > _REMEMBERED:
                self._memories.popitem(last=False)
        self._memories.move_to_end(topic)
        return self._memories[topic]

    def _opened(self) -> Store:
        if self._store is not None and self._file != _identity(self._store):
            self.close()  # the file was moved away or replaced: ours would never change again
        if self._store is None:
            from qllm.paths import database_url, resolve_home
            from qllm.store.database import open_database
            from qllm.store.store import Store

            home = resolve_home(self._home)
            database = open_database(database_url(home), readonly=True, timeout_s=self._locked_s)
            self._store = Store(database, home)
            self._file = _identity(self._store)
        return self._store

    def _changes(self, store: Store) -> object:
        """A value that changes when another connection writes."""
        from sqlalchemy import text

        engine = store.database.engine
        if engine.dialect.name != "sqlite":
            return marks(store)
        if self._probe is None:  # the counter is one connection's own, so it stays open
            self._probe = engine.connect()
        with self._probe.begin():
            return self._probe.execute(text("PRAGMA data_version")).scalar()


def marks(store: Store) -> tuple[Any, ...]:
    """A value that changes with every write of a job, on any database, from cheap reads."""
    from sqlalchemy import func, select

    from qllm.store.schema import Candidate, ChatMessage, Command, Evaluation, Metric, Run, Verdict

    tails = (Metric, Evaluation, Candidate, ChatMessage, Verdict, Command)
    written = func.sum(func.length(ChatMessage.content))
    query = select(
        *(select(func.max(table.id)).scalar_subquery() for table in tails),
        select(func.max(ChatMessage.created)).scalar_subquery(),
        select(func.max(Candidate.created)).scalar_subquery(),
        select(func.max(Verdict.created)).scalar_subquery(),
        select(func.max(Command.acknowledged)).scalar_subquery(),
        select(written).where(ChatMessage.streaming.is_(True)).scalar_subquery(),
        select(func.max(Run.id)).scalar_subquery(),
        select(func.max(Run.beat)).scalar_subquery(),
        select(func.max(Run.ended)).scalar_subquery(),
        select(func.sum(Run.env_steps)).scalar_subquery(),
        select(func.sum(Run.attempt)).scalar_subquery(),
    )
    paused = select(func.count()).where(Run.status == "paused")
    with store.database.read() as session:
        return (*session.execute(query).one(), session.scalar(paused))


def _identity(store: Store) -> tuple[int, int] | None:
    """The store's file; None where it is no file, or is gone."""
    url = store.database.engine.url
    if url.get_backend_name() != "sqlite":
        return None
    name = store.database.where.strip("'")
    try:
        facts = os.stat(name)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
