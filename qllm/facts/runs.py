"""State, progress and times of runs, cheap enough for a list of thousands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from qllm.store.states import ACTIVE

if TYPE_CHECKING:
    from sqlalchemy import Select

    from qllm.store.schema import Run
    from qllm.store.store import Store


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """One run."""

    id: int
    kind: str
    """``run``, ``synth``, ``train`` or ``compare``."""
    status: str
    """Of the store, or ``died`` or ``damaged``."""
    task: str
    command: str
    created: float
    """Seconds since the epoch."""
    algo: str = ""
    seed: int | None = None
    parent: int | None = None
    """Id of the run that it belongs to."""
    attempt: int = 1
    env_steps: int = 0
    total_steps: int = 0
    rate: float | None = None
    """Environment steps per second, while it runs."""
    began: float | None = None
    """Seconds since the epoch."""
    ended: float | None = None
    elapsed_s: float | None = None
    """From the first start to the end, or to now."""
    left_s: float | None = None
    """Until the end at this rate; None where unknown."""
    error: str = ""
    """Why it failed, or the damage of its row."""

    @property
    def active(self) -> bool:
        """Whether a living process works on it."""
        return self.status in ACTIVE

    @classmethod
    def of(cls, run: Any, now: float | None = None, **more: Any) -> Self:
        """The facts of a run, or of a row of `run_columns`.

        Args:
            now: seconds since the epoch; this moment by default.
            more: fields of a subclass.
        """
        from qllm.store.runs import damage_of, derived_status

        now = time.time() if now is None else now
        damage = damage_of(run)
        status = "damaged" if damage else derived_status(run, now)
        end = run.ended or (now if status in ACTIVE else run.beat)
        rate = run.env_steps_per_s if status == "running" else None
        left = run.total_steps - run.env_steps
        return cls(
            id=run.id,
            kind=run.kind,
            status=status,
            task=run.task,
            command=run.command,
            created=run.created,
            algo=run.algo or "",
            seed=run.seed,
            parent=run.parent_id,
            attempt=run.attempt,
            env_steps=run.env_steps,
            total_steps=run.total_steps,
            rate=rate,
            began=run.started or None,
            ended=run.ended,
            elapsed_s=end - run.started if run.started and end else None,
            left_s=left / rate if rate and left > 0 else None,
            error=damage or run.error or "",
            **more,
        )


def run_columns() -> Select[Any]:
    """A query of the columns that `RunFacts` are made of, without the JSON of the rows."""
    from sqlalchemy import select

    from qllm.store.schema import Run

    return select(*(getattr(Run, name) for name in _COLUMNS))


_COLUMNS = tuple(
    "id uid parent_id kind status task algo seed attempt env_steps total_steps env_steps_per_s"
    " created started ended beat error command host boot_id pid process_started".split()
)


def single_trainings_of(run: Run | RunFacts) -> tuple[Any, ...]:
    """The conditions that select a run's trainings of one algorithm with one seed, or itself where
    it is one."""
    from qllm.store.schema import Run as Stored

    mine = Stored.id == run.id if run.seed is not None else Stored.parent_id == run.id
    return mine, Stored.kind == "train", Stored.algo.is_not(None)


_Facts = TypeVar("_Facts", bound=RunFacts)


def trainings_of(store: Store, run: Run | RunFacts, kind: type[_Facts]) -> list[_Facts]:
    """A run's trainings of one algorithm with one seed, or itself where it is one, in order."""
    from qllm.store.schema import Run as Stored

    query, now = run_columns().where(*single_trainings_of(run)).order_by(Stored.id), time.time()
    with store.database.read() as session:
        return [kind.of(row, now) for row in session.execute(query)]


def initial_words(trainings: Iterable[Run]) -> Iterator[str]:
    """Initial networks of trainings from other runs, a line for each source."""
    for said in dict.fromkeys(run.given.initial for run in trainings):
        if said is not None:
            what = "all networks" if said.whole else "the agents' network"
            yield f"{what} of run {said.run} ({said.algo}) after {said.step:,} steps"
