"""Long metric series, read incrementally and thinned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qllm.tui.reading.curves import thinned

if TYPE_CHECKING:
    from qllm.store.store import Store

AT_ONCE = 5_000
"""Points of one series fetched by one look."""

_KEPT = 1_000
"""Neighbouring groups are merged when there are twice as many."""

_SPARK = 40
"""Values of a curve in one line of text."""

_Point = tuple[float, float, float]
"""Environment steps, seconds, value."""


@dataclass(frozen=True)
class Metric:
    """One series of a training, for a widget."""

    name: str
    last: float | None
    """The newest number; None where it was not finite, or where there is none."""
    low: float | None
    high: float | None
    curve: tuple[float, ...]
    """Some of the values, evenly spaced, for one line of text."""


@dataclass
class Series:
    """One series read so far: means of groups of equally many points, and the newest point.

    However long it is, it never holds more than two thousand groups.
    """

    last_id: int = 0
    last: float | None = None
    low: float | None = None
    high: float | None = None
    size: int = 1
    """Number of points in a full group."""
    groups: list[_Point] = field(default_factory=list)
    rest: list[_Point] = field(default_factory=list)
    """The points of the last group, which is not full yet."""
    whole: bool = False
    """Whether the series is complete."""

    def add(self, env_steps: float, wall_s: float, value: float | None) -> None:
        """Add a point; one that is not finite only changes ``last``."""
        self.last = value
        if value is None:
            return
        self.low = value if self.low is None or value < self.low else self.low
        self.high = value if self.high is None or value > self.high else self.high
        self.rest.append((env_steps, wall_s, value))
        if len(self.rest) >= self.size:
            self.groups.append(_mean(self.rest))
            self.rest = []
            if len(self.groups) >= 2 * _KEPT:
                pairs = zip(self.groups[::2], self.groups[1::2], strict=True)
                self.groups = [_mean(pair) for pair in pairs]
                self.size *= 2

    def metric(self, name: str) -> Metric:
        """Its row of a table."""
        some = thinned(self.groups, _SPARK) or tuple(self.rest[-1:])
        curve = tuple(value for _, _, value in some)
        return Metric(name, self.last, self.low, self.high, curve)

    def points(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Steps, seconds and values of the whole series, the last group as one point."""
        points = [*self.groups, _mean(self.rest)] if self.rest else self.groups
        steps, wall, values = zip(*points, strict=True) if points else ((), (), ())
        return tuple(steps), tuple(wall), tuple(values)


def _mean(points: Sequence[_Point]) -> _Point:
    count = len(points)
    if count == 1:
        return points[0]
    steps, wall, values = zip(*points, strict=True)
    return sum(steps) / count, sum(wall) / count, sum(values) / count


@dataclass
class AllSeries:
    """Every series of one training."""

    attempt: int = 0
    newest: int = -1
    """Highest id of a point in the store at the last read; -1 where there is more to read."""
    series: dict[str, Series] = field(default_factory=dict)
    shown: tuple[Metric, ...] = ()


def follow_metrics(
    store: Store, run_id: int, attempt: int, known: AllSeries
) -> tuple[tuple[Metric, ...], bool]:
    """The series of a training, sorted by name, and whether there is more to read.

    Only points after the last known ones are fetched. A new attempt supersedes some, so that all
    are fetched again.
    """
    if known.attempt != attempt:
        known.attempt, known.newest = attempt, -1
        known.series, known.shown = {}, ()
    if known.newest >= 0:
        tail = _written_since(store, known.newest)
        if len(tail) < AT_ONCE:
            _add_tail(tail, run_id, known)
            return known.shown, False
    newest, more = _newest_id(store), False
    for name in _names(store, run_id):
        series = known.series.setdefault(name, Series())
        more = follow_one(store, run_id, name, series) or more
    known.newest = -1 if more else newest
    known.shown = tuple(known.series[name].metric(name) for name in sorted(known.series))
    return known.shown, more


def follow_one(store: Store, run_id: int, name: str, known: Series) -> bool:
    """Read on in one series of a training; returns whether there is more to read."""
    points = store.training.metrics(run_id, name, after_id=known.last_id, limit=AT_ONCE)
    for point in points:
        known.add(point.env_steps, point.wall_s, point.value)
        known.last_id = point.id
    return len(points) == AT_ONCE


def _add_tail(tail: Sequence[Any], run_id: int, known: AllSeries) -> None:
    changed = set()
    for point in tail:
        known.newest = point.id
        if point.run_id == run_id and point.attempt == known.attempt:
            series = known.series.setdefault(point.name, Series())
            if point.id > series.last_id:
                series.add(point.env_steps, point.wall_s, point.value)
                series.last_id = point.id
                changed.add(point.name)
    if changed:
        before = {metric.name: metric for metric in known.shown}
        before.update((name, known.series[name].metric(name)) for name in changed)
        known.shown = tuple(before[name] for name in sorted(before))


def _written_since(store: Store, newest: int) -> Sequence[Any]:
    """Points of any run after an id; cheap in the table's own order."""
    from sqlalchemy import select

    from qllm.store.schema import Metric as Stored

    columns = select(*Stored.__table__.columns)
    query = columns.where(Stored.id > newest).order_by(Stored.id).limit(AT_ONCE)
    with store.database.read() as session:
        return session.execute(query).all()


def _newest_id(store: Store) -> int:
    from sqlalchemy import func, select

    from qllm.store.schema import Metric as Stored

    with store.database.read() as session:
        return session.scalar(select(func.max(Stored.id))) or 0


def _names(store: Store, run_id: int) -> list[str]:
    """Names of a run's series, by one index lookup for each."""
    from sqlalchemy import func, select

    from qllm.store.schema import Metric as Stored

    names: list[str] = []
    with store.database.read() as session:
        while True:
            query = select(func.min(Stored.name)).where(Stored.run_id == run_id)
            found = session.scalar(query.where(Stored.name > names[-1]) if names else query)
            if found is None:
                return names
            names.append(found)
