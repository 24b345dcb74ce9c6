"""Runs: creating, starting, following and finishing them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from qllm.store.damage import damage_in
from qllm.store.database import Database
from qllm.store.errors import StoreError, UnknownRunError
from qllm.store.folders import UID, new_uid
from qllm.store.numbers import BELOW, LARGEST, ids_below, places, run_name
from qllm.store.outage import patient
from qllm.store.process import ProcessIdentity, is_alive, this_process
from qllm.store.schema import Attempt, Run, run_oddities
from qllm.store.states import ACTIVE, Kind, Status


class RunBusyError(StoreError):
    """The run is already being worked on by a living process."""


def derived_status(run: Run, now: float | None = None) -> Status:
    """The stored status, or ``died`` where the process of an active run is gone."""
    if run.status in ACTIVE and not _alive(run, time.time() if now is None else now):
        return "died"
    return run.status  # type: ignore[return-value]  # only this module writes it


def _alive(run: Run, now: float) -> bool:
    process = _process(run)
    return process is not None and is_alive(process, run.beat or 0.0, now)


def _process(run: Run) -> ProcessIdentity | None:
    if run.host is None or run.boot_id is None or run.pid is None or run.process_started is None:
        return None
    return ProcessIdentity(run.host, run.boot_id, run.pid, run.process_started)


def damage_of(run: Any) -> str:
    """The damage of a run, or of a row of its columns, in words; empty without any."""
    if isinstance(run, Run):
        return run.damage
    columns = zip(run._fields, run, strict=True)
    return ", ".join((*damage_in(columns), *run_oddities(run)))


def require_sound(runs: Iterable[Run]) -> None:
    """Refuse to work on damaged rows.

    Raises:
        StoreError: names the first one, and what is wrong with it.
    """
    for run in runs:
        if run.damage:
            raise StoreError(
                f"run {run.name} is damaged ({run.damage}): mend its row in the database, or start"
                " it anew"
            )


def _next_id(session: Session, parent_id: int | None) -> int:
    """The id of a new run, under a lock against other writers.

    Raises:
        StoreError: there is no number left.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        session.execute(text("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE"))
    ids = ids_below(parent_id)
    newest = session.scalar(select(func.max(Run.id)).where(Run.id.between(ids[0], ids[-1])))
    following = ids[0] if newest is None else newest + 1
    if following not in ids or following > LARGEST:
        raise StoreError("the numbers of runs are used up: begin another store with --home")
    return following


def single_trainings(family: Sequence[Run]) -> list[Run]:
    """Those of the runs that train one algorithm with one seed."""
    return [run for run in family if run.kind == "train" and run.algo and run.seed is not None]


@patient(but="beat")
class RunTable:
    """The ``runs`` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        kind: Kind,
        task: str,
        *,
        config: Mapping[str, Any],
        command: str,
        versions: Mapping[str, Any],
        parent_id: int | None = None,
        algo: str | None = None,
        seed: int | None = None,
        total_steps: int = 0,
        inputs: Mapping[str, Any] | None = None,
    ) -> int:
        """A new run, queued; returns its id."""
        with self._database.write() as session:
            run = Run(
                id=_next_id(session, parent_id),
                uid=new_uid(),
                parent_id=parent_id,
                kind=kind,
                task=task,
                algo=algo,
                seed=seed,
                status="queued",
                attempt=0,
                config=dict(config),
                command=command,
                versions=dict(versions),
                inputs=dict(inputs or {}),
                created=time.time(),
                env_steps=0,
                total_steps=total_steps,
            )
            session.add(run)
            session.flush()
            return run.id

    def begin(self, run_id: int, *, resumed_at: int = 0) -> int:
        """Start an attempt in this process; returns its number (1 for the first).

        Args:
            resumed_at: env steps of the checkpoint that the attempt goes on from.

        Raises:
            RunBusyError: a living process works on the run already.
        """
        me, now = this_process(), time.time()
        with self._database.write() as session:
            run = self._require(session, run_id, lock=True)
            if run.status in ACTIVE and _process(run) != me and _alive(run, now):
                raise RunBusyError(
                    f"run {run.name} is {run.status} in process {run.pid} on {run.host}:"
                    f" `qllm stop {run.name}` stops it"
                )
            run.attempt += 1
            run.status, run.error, run.ended = "running", None, None
            run.started = run.started or now
            run.host, run.boot_id, run.pid = me.host, me.boot_id, me.pid
            run.process_started, run.beat = me.started, now
            run.env_steps = max(0, resumed_at)
            session.add(
                Attempt(run_id=run_id, attempt=run.attempt, resumed_at=resumed_at, started=now)
            )
            return run.attempt

    def beat(self, run_ids: Sequence[int]) -> None:
        """Record a heartbeat of these runs; never waits for a server that is away."""
        with self._database.write() as session:
            session.execute(update(Run).where(Run.id.in_(run_ids)).values(beat=time.time()))

    def progress(
        self,
        run_id: int,
        *,
        env_steps: int,
        env_steps_per_s: float | None = None,
        total_steps: int | None = None,
    ) -> None:
        """Store the progress of a run, for the live list."""
        values: dict[str, Any] = {"env_steps": env_steps, "beat": time.time()}
        if env_steps_per_s is not None:
            values["env_steps_per_s"] = env_steps_per_s
        if total_steps is not None:
            values["total_steps"] = total_steps
        self._set(run_id, **values)

    def _set(self, run_id: int, **values: Any) -> None:
        with self._database.write() as session:
            session.execute(update(Run).where(Run.id == run_id).values(**values))

    def add_up(self, run_id: int) -> None:
        """Set a run's progress to the sum of its children's.

        Steps are those of all children, steps per second those of the children that are running.
        Several processes may train children of one run; whoever calls this last sees what all have
        stored, so that the total is right whatever the order.
        """
        with self._database.write() as session:
            # Held until the end, else two processes might each add up without the other's steps
            # (PostgreSQL; with SQLite, this transaction is alone anyway).
            session.execute(select(Run.id).where(Run.id == run_id).with_for_update())
            mine = Run.parent_id == run_id
            steps = session.scalar(select(func.sum(Run.env_steps)).where(mine))
            running = select(func.sum(Run.env_steps_per_s)).where(mine, Run.status == "running")
            values: dict[str, Any] = {"env_steps": int(steps or 0)}
            rate = session.scalar(running)
            if rate is not None:  # else none is running, and the last known rate stays
                values["env_steps_per_s"] = rate
            session.execute(update(Run).where(Run.id == run_id).values(**values))

    def set_status(self, run_id: int, status: Literal["queued", "running", "paused"]) -> None:
        """Change the status of a run that has not ended."""
        self._set(run_id, status=status)

    def set_config(self, run_id: int, config: Mapping[str, Any]) -> None:
        """Replace a run's configuration for later attempts."""
        self._set(run_id, config=dict(config))

    def set_inputs(self, run_id: int, inputs: Mapping[str, Any]) -> None:
        """Store a run's inputs beside its configuration."""
        self._set(run_id, inputs=dict(inputs))

    def set_result(self, run_id: int, result: Mapping[str, Any]) -> None:
        """Store a run's results so far."""
        self._set(run_id, result=dict(result))

    def finish(
        self,
        run_id: int,
        status: Literal["finished", "failed", "stopped"],
        *,
        error: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """End a run. ``result`` is kept from before where none is given."""
        values: dict[str, Any] = {"status": status, "error": error, "ended": time.time()}
        if result is not None:
            values["result"] = dict(result)
        self._set(run_id, **values)

    def get(self, run_id: int) -> Run:
        """A run by its id.

        Raises:
            UnknownRunError: there is none.
        """
        with self._database.read() as session:
            return self._require(session, run_id)

    def uid(self, run_id: int) -> str | None:
        """The random id of a run; None for one of the first version.

        Raises:
            UnknownRunError: there is no such run.
            StoreError: it is no such id.
        """
        with self._database.read() as session:
            row = session.execute(select(Run.uid).where(Run.id == run_id)).first()
            uid = row.uid if row is not None else self._require(session, run_id).uid
        if uid is not None and not UID.fullmatch(uid):  # it names a folder
            raise StoreError(f"run {run_name(run_id)} is damaged (uid: no such id): mend its row")
        return uid

    def listed(
        self, *, limit: int | None = None, top_level: bool = False, kind: Kind | None = None
    ) -> list[Run]:
        """Runs (of a kind), newest first; ``top_level`` leaves out those that belong to another."""
        query = select(Run.id)
        if kind is not None:
            query = query.where(Run.kind == kind)
        if top_level:
            query = query.where(Run.parent_id.is_(None))
        with self._database.read() as session:
            newest = sorted(session.scalars(query), key=places, reverse=True)[:limit]
            runs = session.scalars(select(Run).where(Run.id.in_(newest)))
            return sorted(runs, key=lambda run: places(run.id), reverse=True)

    def children(self, run_id: int) -> list[Run]:
        """The runs that belong to a run, in the order they were made."""
        with self._database.read() as session:
            # A child is younger, so that no circle of damaged rows is followed for ever.
            mine = Run.parent_id == run_id, Run.id > run_id
            return list(session.scalars(select(Run).where(*mine).order_by(Run.id)))

    def family(self, run_id: int) -> list[Run]:
        """A run and all that belong to it, each before those that belong to it in turn.

        Raises:
            UnknownRunError: there is no such run.
        """
        return [self.get(run_id), *self._descendants(run_id)]

    def trainings(self, run_id: int) -> list[Run]:
        """The single trainings among a run's family: one algorithm with one seed each.

        Raises:
            UnknownRunError: there is no such run.
        """
        return single_trainings(self.family(run_id))

    def _descendants(self, run_id: int) -> list[Run]:
        found = []
        for child in self.children(run_id):
            found += [child, *self._descendants(child.id)]
        return found

    def attempts(self, run_id: int) -> list[Attempt]:
        """Every start of a run, the first one first."""
        with self._database.read() as session:
            return list(
                session.scalars(
                    select(Attempt).where(Attempt.run_id == run_id).order_by(Attempt.attempt)
                )
            )

    def _require(self, session: Session, run_id: int, *, lock: bool = False) -> Run:
        run = session.get(Run, run_id, with_for_update=lock)
        if run is None:
            newest = session.scalar(select(func.max(Run.id)).where(Run.id < BELOW))
            hint = "there are no runs yet" if newest is None else f"the newest run is {newest}"
            missing = f"no run {run_name(run_id)} in {self._database.where}"
            raise UnknownRunError(f"{missing}: {hint} (`qllm runs` lists them)")
        return run
