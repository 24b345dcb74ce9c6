"""Selection of the rows of a resumed run that are not superseded.

A run that is resumed from a checkpoint at env step k starts a new attempt. What earlier attempts
wrote for steps after k will be written again and is superseded; what they wrote up to k stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from qllm.store.damage import Damaged
from qllm.store.schema import Attempt, Evaluation, Metric


def live_rows(
    session: Session, table: type[Metric] | type[Evaluation], run_id: int
) -> ColumnElement[bool]:
    """The condition that selects a run's rows without the superseded ones."""
    attempts = session.execute(
        select(Attempt.attempt, Attempt.resumed_at)
        .where(Attempt.run_id == run_id)
        .order_by(Attempt.attempt.desc())
    ).all()
    kept: list[ColumnElement[bool]] = []
    last: int | None = None  # nothing after this step counts; None while no later attempt is seen
    for attempt, resumed_at in attempts:
        same = table.attempt == attempt
        kept.append(same if last is None else and_(same, table.env_steps <= last))
        if not isinstance(resumed_at, Damaged):
            last = resumed_at if last is None else min(last, resumed_at)
    mine = table.run_id == run_id
    return mine if len(kept) < 2 else and_(mine, or_(*kept))


class _Tried(Protocol):
    @property
    def attempt(self) -> int: ...


_Row = TypeVar("_Row", bound=_Tried)


def newest(rows: Sequence[_Row], *place: str) -> list[_Row]:
    """Of a search's rows, those without a later attempt's of the same place.

    Args:
        place: attributes that say what a row is about.
    """
    last: dict[tuple[Any, ...], int] = {}
    for row in rows:
        key = tuple(getattr(row, name) for name in place)
        last[key] = max(last.get(key, 0), row.attempt)
    return [row for row in rows if row.attempt == last[tuple(getattr(row, n) for n in place)]]
