"""Long series of numbers, read by their tails and kept short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qllm.store.store import Store

AT_ONCE = 5_000
"""Points of one series fetched by one look."""

_KEPT = 1_000
"""When twice as many groups are there, neighbours are joined."""


@dataclass(frozen=True)
class Metric:
    """One series of a training as a widget is given it."""

    name: str
    last: float | None
    """The newest number; None where it was not finite, or where there is none."""
    steps: tuple[float, ...]
    wall: tuple[float, ...]
    values: tuple[float, ...]


@dataclass
class Series:
    """One series read so far: means of groups of equally many points, and the newest point.

    However long it is, it never holds more than two thousand groups.
    """

    last_id: int = 0
    last: float | None = None
    size: int = 1
    """How many points are in a whole group."""
    groups: list[tuple[float, float, float]] = field(default_factory=list)
    """Environment steps, seconds and value of each whole group."""
    rest: list[tuple[float, float, float]] = field(default_factory=list)
    """The points of the group that is not whole yet."""

    def add(self, env_steps: float, wall_s: float, value: float | None) -> None:
        """One more point; one that was not finite leaves no trace but in ``last``."""
        self.last = value
        if value is None:
            return
        self.rest.append((env_steps, wall_s, value))
        if len(self.rest) >= self.size:
            self.groups.append(_mean(self.rest))
            self.rest = []
            if len(self.groups) >= 2 * _KEPT:
                pairs = zip(self.groups[::2], self.groups[1::2], strict=True)
                self.groups = [_mean(pair) for pair in pairs]
                self.size *= 2

    def metric(self, name: str) -> Metric:
        """What there is, the unfinished group as one point."""
        points = [*self.groups, _mean(self.rest)] if self.rest else self.groups
        steps, wall, values = zip(*points, strict=True) if points else ((), (), ())
        return Metric(name, self.last, tuple(steps), tuple(wall), tuple(values))


def _mean(
    points: list[tuple[float, float, float]] | tuple[tuple[float, float, float], ...],
) -> tuple[float, float, float]:
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
        known.attempt, known.newest, known.series, known.shown = attempt, -1, {}, ()
    newest = _newest_id(store)
    if newest == known.newest:
        return known.shown, False
    more, changed = False, False
    for name in _names(store, run_id):
        series = known.series.setdefault(name, Series())
        points = store.training.metrics(run_id, name, after_id=series.last_id, limit=AT_ONCE)
        for point in points:
            series.add(point.env_steps, point.wall_s, point.value)
        if points:
            series.last_id, changed = points[-1].id, True
        more = more or len(points) == AT_ONCE
    if not more:
        known.newest = newest
    if changed:
        known.shown = tuple(known.series[name].metric(name) for name in sorted(known.series))
    return known.shown, more


def _newest_id(store: Store) -> int:
    from sqlalchemy import func, select

    from qllm.store.schema import Metric as Stored

    with store.database.read() as session:
        return session.scalar(select(func.max(Stored.id))) or 0


def _names(store: Store, run_id: int) -> list[str]:
    """Names of a run's series, each found by one step in the index and not by reading it all."""
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
