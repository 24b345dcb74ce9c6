"""Rows that a job rewrites in place while it works, fetched again only where they changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from sqlalchemy import select

from qllm.store.schema import Candidate, ChatMessage, Verdict
from qllm.store.store import Store

_AT_ONCE = 400
"""Rows fetched by one query; databases limit how many values a query may name."""

_Made = TypeVar("_Made")


def rewritten(
    store: Store,
    table: type[Candidate] | type[ChatMessage] | type[Verdict],
    run_id: int,
    memory: dict[str, Any],
    make: Callable[[Any], _Made],
) -> tuple[_Made, ...]:
    """What ``make`` makes of a run's rows, oldest row first.

    Such rows have no tail to follow, since a reply grows where it stands; they carry the attempt
    and the time of their last writing instead. A row that did not change gives the same object as
    the last time, so that whoever shows it can tell.

    Args:
        memory: the query's own between two reads.
    """
    known: dict[int, tuple[object, _Made]] = memory.setdefault(table.__tablename__, {})
    with store.database.read() as session:
        stamps = {
            id_: (attempt, created)
            for id_, attempt, created in session.execute(
                select(table.id, table.attempt, table.created)
                .where(table.run_id == run_id)
                .order_by(table.id)
            )
        }
        changed = [i for i, stamp in stamps.items() if i not in known or known[i][0] != stamp]
        for first in range(0, len(changed), _AT_ONCE):
            some = changed[first : first + _AT_ONCE]
            rows: Iterable[Any] = session.scalars(select(table).where(table.id.in_(some)))
            for row in rows:
                if row.damage:
                    known.pop(row.id, None)
                    continue
                known[row.id] = (row.attempt, row.created), make(row)
    for gone in known.keys() - stamps.keys():
        del known[gone]
    return tuple(known[i][1] for i in stamps if i in known)
