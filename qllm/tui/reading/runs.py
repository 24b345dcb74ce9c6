"""The list of runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qllm.tui.reading.curves import Point, Tail, follow, mean_curve, thinned
from qllm.tui.reading.watch import MORE

if TYPE_CHECKING:
    from qllm.store.store import Store

ALL_EVERY_S = 5.0
"""Between two reads of every row: a run that ended may be resumed by somebody, which the rows at
work do not show."""

CURVES_S = 0.03
"""How much time of one look goes into curves that are not known yet."""

_SPARK_POINTS = 60


@dataclass(frozen=True)
class Returns:
    """How far a run's trainings have come."""

    last: float | None = None
    """Mean team return (undiscounted reward per episode) of the newest evaluation, over seeds."""
    best: float | None = None
    """The highest of the curve after step 0."""
    curve: tuple[float, ...] = ()
    algo: str = ""
    """Whose it is: of several, the run's own, or else the one that stands highest."""


@dataclass(frozen=True)
class RunRow:
    """One run in the list."""

    id: int
    kind: str
    status: str
    task: str
    algo: str
    env_steps: int
    total_steps: int
    rate: float | None
    """Environment steps per second."""
    elapsed_s: float | None
    left_s: float | None
    """Until the end at this rate; None where that is not known."""
    error: str
    command: str
    attempt: int = 1
    returns: Returns | None = None
    """None until it was read."""

    @property
    def active(self) -> bool:
        """Whether a living process works on it."""
        return self.status in ("running", "paused")


@dataclass(frozen=True)
class RunsQuery:
    """The newest runs that do not belong to another."""

    limit: int = 5_000
    curves_of: tuple[int, ...] = ()
    """The runs whose returns are wanted, those on the screen."""
    topic: str = field(default="runs", compare=False, repr=False)

    def read(self, store: Store, memory: dict[str, Any]) -> tuple[RunRow, ...]:
        """Newest first."""
        rows: dict[int, RunRow] = memory.setdefault("rows", {})
        moment = time.monotonic()
        everything = not rows or moment - memory.get("all_at", 0.0) > ALL_EVERY_S
        if everything:
            memory["all_at"] = moment
            rows.clear()
        at_work = [row.id for row in rows.values() if row.status in _GOES_ON]
        found = _rows(store, self.limit, None if everything else (max(rows), at_work))
        rows.update((row.id, row) for row in found)
        known: dict[int, tuple[object, Returns]] = memory.setdefault("returns", {})
        wanted = [rows[id_] for id_ in self.curves_of if id_ in rows]
        memory[MORE] = not _read_returns(store, wanted, known, memory.setdefault("tails", {}))
        newest = sorted(rows, reverse=True)[: self.limit]
        return tuple(
            replace(rows[id_], returns=known[id_][1]) if id_ in known else rows[id_]
            for id_ in newest
        )


_GOES_ON = ("queued", "running", "paused", "died")


def _rows(store: Store, limit: int, since: tuple[int, list[int]] | None) -> list[RunRow]:
    """All rows, or those after an id and those that may have changed."""
    from sqlalchemy import or_, select

    from qllm.store.schema import Run

    query = (
        select(
            Run.id,
            Run.kind,
            Run.status,
            Run.task,
            Run.algo,
            Run.attempt,
            Run.env_steps,
            Run.total_steps,
            Run.env_steps_per_s,
            Run.started,
            Run.ended,
            Run.beat,
            Run.error,
            Run.command,
            Run.host,
            Run.boot_id,
            Run.pid,
            Run.process_started,
        )
        .where(Run.parent_id.is_(None))
        .order_by(Run.id.desc())
        .limit(limit)
    )
    if since is not None:
        newer, at_work = since
        query = query.where(or_(Run.id > newer, Run.id.in_(at_work)))
    now = time.time()
    with store.database.read() as session:
        return [_row(found, now) for found in session.execute(query)]


def _row(run: Any, now: float) -> RunRow:
    from qllm.store.runs import derived_status

    status = derived_status(run, now)
    end = run.ended or (now if status in ("running", "paused") else run.beat)
    rate = run.env_steps_per_s
    left = None
    if status == "running" and rate and run.total_steps > run.env_steps:
        left = (run.total_steps - run.env_steps) / rate
    return RunRow(
        id=run.id,
        kind=run.kind,
        status=status,
        task=run.task,
        algo=run.algo or "",
        env_steps=run.env_steps,
        total_steps=run.total_steps,
        rate=rate if status == "running" else None,
        elapsed_s=end - run.started if run.started and end else None,
        left_s=left,
        error=run.error or "",
        command=run.command,
        attempt=run.attempt,
    )


def _read_returns(
    store: Store,
    wanted: Sequence[RunRow],
    known: dict[int, tuple[object, Returns]],
    tails: dict[int, Tail],
) -> bool:
    """Bring the returns of runs up to date; False where time ran out before all were read."""
    until = time.monotonic() + CURVES_S
    ordered = sorted(wanted, key=lambda row: row.id in known)  # what has nothing yet comes first
    for row in ordered:
        state = (row.status, row.attempt, row.env_steps)
        if row.id in known and known[row.id][0] == state and not row.active:
            continue
        known[row.id] = state, _returns(store, row, tails)
        if time.monotonic() > until:
            return row.id == ordered[-1].id
    return True


def _returns(store: Store, row: RunRow, tails: dict[int, Tail]) -> Returns:
    from sqlalchemy import select

    from qllm.store.schema import Run

    query = (
        select(Run.id, Run.algo, Run.attempt, Run.status)
        .where(Run.parent_id == row.id, Run.kind == "train", Run.algo.is_not(None))
        .order_by(Run.id)
    )
    with store.database.read() as session:
        children = list(session.execute(query))
    seeds: dict[str, list[list[Point]]] = {}
    for child in children:
        ended = child.status in ("finished", "failed", "stopped") or not row.active
        points = follow(store, child.id, child.attempt, not ended, tails)
        seeds.setdefault(str(child.algo), []).append(points)
    curves = {algo: mean_curve(points) for algo, points in seeds.items()}
    return summarised({algo: curve for algo, curve in curves.items() if curve}, _own(row))


def _own(row: RunRow) -> tuple[str, ...]:
    return (row.algo,) if row.algo else ("qllm",) if row.kind == "run" else ()


def summarised(curves: dict[str, list[float]], own: Iterable[str] = ()) -> Returns:
    """What the list shows of a run's curves: its own algorithm's, or the highest one."""
    if not curves:
        return Returns()
    mine = [algo for algo in own if algo in curves]
    algo = mine[0] if mine else max(curves, key=lambda name: curves[name][-1])
    curve = curves[algo]
    return Returns(
        last=curve[-1],
        best=max(curve[1:] or curve),
        curve=thinned(curve, _SPARK_POINTS),
        algo=algo,
    )
