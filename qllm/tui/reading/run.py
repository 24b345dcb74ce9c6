"""One run: its trainings, curves, metrics, log, configuration, and what it uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qllm.facts.progress import SearchProgress, read_progress
from qllm.facts.runs import RunFacts, trainings_of
from qllm.tui.reading.curves import Tail, follow_all, thinned
from qllm.tui.reading.log import Log, read_log
from qllm.tui.reading.optimum import Optimum, best_return
from qllm.tui.reading.record import Record, read_record
from qllm.tui.reading.series import AllSeries, Metric, Series, follow_metrics, follow_one
from qllm.tui.reading.spread import Curve, curves_of, metric_curve
from qllm.tui.reading.usage import Usage, read_usage
from qllm.tui.reading.watch import MORE

if TYPE_CHECKING:
    from qllm.store.schema import Run
    from qllm.store.store import Store

SLOW_EVERY_S = 1.0
"""Between two reads of processes, the log and the configuration."""


@dataclass(frozen=True, kw_only=True)
class TrainingRow(RunFacts):
    """One training of the run."""

    last: float | None
    """Mean return of the newest evaluation."""
    best: float | None
    curve: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RunHead(RunFacts):
    """The header of the screen."""

    optimum: Optimum | None


@dataclass(frozen=True)
class RunView:
    """Everything the screen shows."""

    facts: RunHead
    trainings: tuple[TrainingRow, ...]
    curves: tuple[Curve, ...]
    training: int | None
    """The training of the metrics."""
    metrics: tuple[Metric, ...]
    plotted: Curve | None
    """The requested metric over the seeds of this training's algorithm."""
    search: SearchProgress | None
    """Progress of the search until the trainings begin."""
    log: Log
    configuration: str
    """As YAML."""
    usage: Usage
    record: Record


@dataclass(frozen=True)
class RunQuery:
    """One run."""

    run_id: int
    training: int | None = None
    """The training whose metrics are read; the first active one by default."""
    metric: str | None = None
    """The series to plot."""

    @property
    def topic(self) -> tuple[str, int]:
        """The run: its memory is kept when another training is shown."""
        return "run", self.run_id

    def read(self, store: Store, memory: dict[str, Any]) -> RunView:
        """The present state of the run.

        Raises:
            StoreError: there is no such run.
        """
        from qllm.store.runs import derived_status

        run, now = store.runs.get(self.run_id), time.time()
        status = derived_status(run, now)
        tails: dict[int, Tail] = memory.setdefault("tails", {})
        trainings = trainings_of(store, run, RunFacts)
        points = follow_all(store, trainings, tails)
        rows = tuple(_row(one, [point.mean for point in tails[one.id].points]) for one in trainings)
        training = self._training(rows)
        metrics: tuple[Metric, ...] = ()
        plotted: Curve | None = None
        if training is not None:
            every: dict[int, AllSeries] = memory.setdefault("series", {})
            known = every.setdefault(training, AllSeries())
            metrics, memory[MORE] = follow_metrics(store, training, tails[training].attempt, known)
            if self.metric in known.series:
                mine = known.series[self.metric]
                plotted = _over_seeds(store, self.metric, mine, training, rows, memory)
        log, configuration, usage, record = _slow(store, run, status, rows, memory)
        searches = run.kind == "run" and not rows and run.attempt > 0
        return RunView(
            facts=RunHead.of(run, now, optimum=best_return(run.task, run.config or {})),
            trainings=rows,
            curves=curves_of(points, memory),
            training=training,
            metrics=metrics,
            plotted=plotted,
            search=read_progress(store, run.id, run.settings.synth.rounds) if searches else None,
            log=log,
            configuration=configuration,
            usage=usage,
            record=record,
        )

    def _training(self, rows: Sequence[TrainingRow]) -> int | None:
        ids = [row.id for row in rows]
        if self.training in ids:
            return self.training
        at_work = [row.id for row in rows if row.active]
        return next(iter(at_work or ids), None)


def _row(facts: RunFacts, means: Sequence[float]) -> TrainingRow:
    return TrainingRow(
        **vars(facts),
        last=means[-1] if means else None,
        best=max(means[1:] or means, default=None),
        curve=thinned(means, 60),
    )


SEEDS_S = 0.05
"""Time limit of one read for the metric of other seeds."""


def _over_seeds(
    store: Store,
    name: str,
    mine: Series,
    training: int,
    rows: Sequence[TrainingRow],
    memory: dict[str, Any],
) -> Curve | None:
    """A metric of all trainings of one algorithm, as far as they have been read."""
    until = time.monotonic() + SEEDS_S
    algo = next(row.algo for row in rows if row.id == training)
    others: dict[tuple[int, int, str], Series] = memory.setdefault("other_seeds", {})
    seeds: list[Series] = []
    for row in (row for row in rows if row.algo == algo):
        if row.id == training:
            seeds.append(mine)
            continue
        key = (row.id, memory["tails"][row.id].attempt, name)
        series = others.setdefault(key, Series())
        if not series.whole and time.monotonic() < until:
            if follow_one(store, row.id, name, series):
                memory[MORE] = True
            else:
                series.whole = not (row.active or row.status == "queued")
        elif not series.whole:
            memory[MORE] = True
        seeds.append(series)
    state = (name, algo, tuple(series.last_id for series in seeds))
    if memory.get("plotted_of") != state:
        memory["plotted_of"] = state
        memory["plotted"] = metric_curve(algo, [series.points() for series in seeds])
    curve: Curve | None = memory["plotted"]
    return curve


def _slow(
    store: Store,
    run: Run,
    status: str,
    rows: Sequence[TrainingRow],
    memory: dict[str, Any],
) -> tuple[Log, str, Usage, Record]:
    """Parts that are read once a second, or only once."""
    now = time.monotonic()
    if "slow" not in memory or now - memory["slow_at"] >= SLOW_EVERY_S:
        memory["slow_at"] = now
        if "configuration" not in memory:
            from qllm.config.yaml_text import dump

            memory["configuration"] = dump(run.config) if run.config else ""
        usage, record = read_usage(run, status, memory), read_record(store, run)
        log = read_log(store, run, status, rows, memory)
        memory["slow"] = log, memory["configuration"], usage, record
    slow: tuple[Log, str, Usage, Record] = memory["slow"]
    return slow
