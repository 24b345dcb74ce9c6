"""The list of runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qllm.facts.progress import SearchProgress, read_progress
from qllm.facts.runs import RunFacts, run_columns, trainings_of
from qllm.store.states import ACTIVE, SEARCHES
from qllm.tui.reading.curves import Tail, follow_all, mean_curve, thinned
from qllm.tui.reading.watch import MORE

if TYPE_CHECKING:
    from qllm.store.store import Store

ALL_EVERY_S = 5.0
"""Interval between full reads, which notice ended runs that were resumed."""

CURVES_S = 0.03
"""Time limit of one read for curves that are not known yet."""

_SPARK_POINTS = 60


@dataclass(frozen=True)
class Returns:
    """Returns of a run's trainings."""

    last: float | None = None
    """Mean team return (undiscounted reward per episode) of the newest evaluation, over seeds."""
    best: float | None = None
    """Maximum of the curve after step 0."""
    curve: tuple[float, ...] = ()
    algo: str = ""
    """The algorithm of the curve: the run's own, or else the highest."""
    search: SearchProgress | None = None
    """Of a run without trainings."""


@dataclass(frozen=True, kw_only=True)
class RunRow(RunFacts):
    """One run in the list."""

    algos: tuple[str, ...] = ()
    """Algorithms of its trainings, in order; empty without trainings."""
    trainings: int = 0
    """Number of single trainings: one algorithm with one seed each."""
    opened: bool = False
    """Whether they follow it in the list."""
    returns: Returns | None = None
    """None until it was read."""

    @property
    def run(self) -> int:
        """The whole run: itself, or the one it belongs to."""
        return self.id if self.parent is None else self.parent


@dataclass(frozen=True)
class RunsQuery:
    """The newest runs that do not belong to another, and the trainings of some of them."""

    limit: int = 5_000
    curves_of: tuple[int, ...] = ()
    """The visible runs, whose returns are read."""
    opened: tuple[int, ...] = ()
    """The runs whose trainings are listed after them."""
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
        newest = sorted(rows, reverse=True)[: self.limit]
        inside = _opened(store, [rows[id_] for id_ in self.opened if id_ in rows], memory)
        listed = [
            row for id_ in newest for row in (_headed(rows[id_], inside), *inside.get(id_, ()))
        ]
        known: dict[int, tuple[object, Returns]] = memory.setdefault("returns", {})
        by_id = {row.id: row for row in listed}
        wanted = [by_id[id_] for id_ in self.curves_of if id_ in by_id]
        memory[MORE] = not _read_returns(store, wanted, known, memory.setdefault("tails", {}))
        return tuple(
            replace(row, returns=known[row.id][1]) if row.id in known else row for row in listed
        )


_GOES_ON = ("queued", *ACTIVE, "died")


def _headed(row: RunRow, inside: dict[int, tuple[RunRow, ...]]) -> RunRow:
    return replace(row, opened=True) if row.id in inside else row


def _opened(
    store: Store, parents: Sequence[RunRow], memory: dict[str, Any]
) -> dict[int, tuple[RunRow, ...]]:
    """The trainings of some runs; those of a run that has ended are read once."""
    known: dict[int, tuple[object, tuple[RunRow, ...]]] = memory.setdefault("inside", {})
    for row in parents:
        state = (row.status, row.attempt, row.env_steps)
        if row.id not in known or known[row.id][0] != state or row.status in _GOES_ON:
            known[row.id] = state, tuple(trainings_of(store, row, RunRow))
    return {row.id: known[row.id][1] for row in parents if known[row.id][1]}


def _rows(store: Store, limit: int, since: tuple[int, list[int]] | None) -> list[RunRow]:
    """All rows, or those after an id and those that may have changed."""
    from sqlalchemy import func, or_, select

    from qllm.store.schema import Run

    query = run_columns().where(Run.parent_id.is_(None)).order_by(Run.id.desc()).limit(limit)
    inside = (
        select(Run.parent_id, Run.algo, func.count())
        .where(Run.parent_id.is_not(None), Run.kind == "train", Run.algo.is_not(None))
        .group_by(Run.parent_id, Run.algo)
        .order_by(func.min(Run.id))
    )
    if since is not None:
        newer, at_work = since
        query = query.where(or_(Run.id > newer, Run.id.in_(at_work)))
    now = time.time()
    with store.database.read() as session:
        found = [RunRow.of(run, now) for run in session.execute(query)]
        if since is not None:
            inside = inside.where(Run.parent_id.in_([row.id for row in found]))
        algos: dict[int, list[str]] = {}
        trainings: dict[int, int] = {}
        groups: list[Any] = list(session.execute(inside)) if found else []
        for parent, algo, size in groups:
            algos.setdefault(parent, []).append(str(algo))
            trainings[parent] = trainings.get(parent, 0) + size
    return [
        replace(row, algos=tuple(algos[row.id]), trainings=trainings[row.id])
        if row.id in trainings
        else row
        for row in found
    ]


def _read_returns(
    store: Store,
    wanted: Sequence[RunRow],
    known: dict[int, tuple[object, Returns]],
    tails: dict[int, Tail],
) -> bool:
    """Update the returns of runs; returns False where time ran out first."""
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
    trainings = [row] if row.parent is not None else trainings_of(store, row, RunRow)
    if not trainings and row.kind in SEARCHES and row.attempt > 0:
        rounds = store.runs.get(row.id).settings.synth.rounds
        return Returns(search=read_progress(store, row.id, rounds))
    curves = {a: mean_curve(own) for a, own in follow_all(store, trainings, tails).items()}
    return summarised({algo: curve for algo, curve in curves.items() if curve}, _own(row))


def _own(row: RunRow) -> tuple[str, ...]:
    return (row.algo,) if row.algo else ("qllm",) if row.kind == "run" else ()


def summarised(curves: dict[str, list[float]], own: Iterable[str] = ()) -> Returns:
    """Summary of a run's curves: its own algorithm's, or the highest one."""
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
