"""One run: its trainings, curves, metrics, log, configuration, and what it uses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qllm.tui.reading.curves import Point, Tail, follow, thinned
from qllm.tui.reading.log import Log, read_log
from qllm.tui.reading.series import AllSeries, Metric, Plotted, follow_metrics
from qllm.tui.reading.usage import Usage, read_usage
from qllm.tui.reading.watch import MORE

if TYPE_CHECKING:
    from qllm.store.schema import Run
    from qllm.store.store import Store

CURVE_POINTS = 300
"""Of each algorithm's curve: every one has an interval that costs a bootstrap, and no terminal is
wider."""

SLOW_EVERY_S = 1.0
"""Between two reads of what nobody watches closely: processes, the log, the configuration."""

_RESAMPLES = 500
"""Of the interval in the picture; tables and reports use more."""


@dataclass(frozen=True)
class TrainingRow:
    """One training of the run."""

    id: int
    algo: str
    seed: int | None
    status: str
    env_steps: int
    total_steps: int
    rate: float | None
    last: float | None
    """Mean return of the newest evaluation."""
    best: float | None
    curve: tuple[float, ...]
    error: str


@dataclass(frozen=True)
class Curve:
    """The returns of one algorithm over its seeds."""

    algo: str
    seeds: int
    steps: tuple[float, ...]
    wall: tuple[float, ...]
    """Seconds of training."""
    centre: tuple[float, ...]
    """Interquartile mean over the seeds that were evaluated so often."""
    low: tuple[float, ...]
    """Ends of the 95% bootstrap interval over seeds; where one seed stands alone, the mean."""
    high: tuple[float, ...]


@dataclass(frozen=True)
class RunFacts:
    """What the top of the screen says."""

    id: int
    parent: int | None
    kind: str
    task: str
    algo: str
    seed: int | None
    status: str
    attempt: int
    env_steps: int
    total_steps: int
    rate: float | None
    elapsed_s: float | None
    left_s: float | None
    error: str
    command: str


@dataclass(frozen=True)
class RunView:
    """Everything the screen shows."""

    facts: RunFacts
    trainings: tuple[TrainingRow, ...]
    curves: tuple[Curve, ...]
    training: int | None
    """Whose metrics these are."""
    metrics: tuple[Metric, ...]
    plotted: Plotted | None
    """The series that was asked for, where the training has it."""
    log: Log
    configuration: str
    """As YAML."""
    usage: Usage


@dataclass(frozen=True)
class RunQuery:
    """One run."""

    run_id: int
    training: int | None = None
    """Whose metrics are wanted; None for those of the first training that is at work."""
    metric: str | None = None
    """The series that is wanted whole."""

    @property
    def topic(self) -> tuple[str, int]:
        """The run: what was read of it stays when another training is looked at."""
        return "run", self.run_id

    def read(self, store: Store, memory: dict[str, Any]) -> RunView:
        """The run as it stands.

        Raises:
            StoreError: there is no such run.
        """
        from qllm.store.runs import derived_status

        run, now = store.runs.get(self.run_id), time.time()
        status = derived_status(run, now)
        tails: dict[int, Tail] = memory.setdefault("tails", {})
        rows, points = _trainings(store, run, status, now, tails)
        training = self._training(rows)
        metrics: tuple[Metric, ...] = ()
        plotted: Plotted | None = None
        if training is not None:
            every: dict[int, AllSeries] = memory.setdefault("series", {})
            known = every.setdefault(training, AllSeries())
            metrics, memory[MORE] = follow_metrics(store, training, tails[training].attempt, known)
            if self.metric in known.series:
                plotted = known.series[self.metric].plotted(self.metric)
        log, configuration, usage = _slow(store, run, status, memory)
        return RunView(
            facts=_facts(run, status, now),
            trainings=rows,
            curves=_curves(points, memory),
            training=training,
            metrics=metrics,
            plotted=plotted,
            log=log,
            configuration=configuration,
            usage=usage,
        )

    def _training(self, rows: Sequence[TrainingRow]) -> int | None:
        ids = [row.id for row in rows]
        if self.training in ids:
            return self.training
        at_work = [row.id for row in rows if row.status in ("running", "paused")]
        return next(iter(at_work or ids), None)


def _facts(run: Run, status: str, now: float) -> RunFacts:
    end = run.ended or (now if status in ("running", "paused") else run.beat)
    rate = run.env_steps_per_s if status == "running" else None
    left = (run.total_steps - run.env_steps) / rate if rate else None
    return RunFacts(
        id=run.id,
        parent=run.parent_id,
        kind=run.kind,
        task=run.task,
        algo=run.algo or "",
        seed=run.seed,
        status=status,
        attempt=run.attempt,
        env_steps=run.env_steps,
        total_steps=run.total_steps,
        rate=rate,
        elapsed_s=end - run.started if run.started and end else None,
        left_s=max(0.0, left) if left is not None else None,
        error=run.error or "",
        command=run.command,
    )


def _trainings(
    store: Store, run: Run, status: str, now: float, tails: dict[int, Tail]
) -> tuple[tuple[TrainingRow, ...], dict[str, list[list[Point]]]]:
    """The trainings of a run, or itself where it is one; and their evaluations by algorithm."""
    from sqlalchemy import select

    from qllm.store.runs import derived_status
    from qllm.store.schema import Run as Stored

    columns = select(
        Stored.id,
        Stored.algo,
        Stored.seed,
        Stored.status,
        Stored.attempt,
        Stored.env_steps,
        Stored.total_steps,
        Stored.env_steps_per_s,
        Stored.error,
        Stored.beat,
        Stored.host,
        Stored.boot_id,
        Stored.pid,
        Stored.process_started,
    ).order_by(Stored.id)
    mine = Stored.id == run.id if run.seed is not None else Stored.parent_id == run.id
    with store.database.read() as session:
        found: list[Any] = list(
            session.execute(columns.where(mine, Stored.kind == "train", Stored.algo.is_not(None)))
        )
    rows: list[TrainingRow] = []
    points: dict[str, list[list[Point]]] = {}
    for child in found:
        state = derived_status(child, now)
        evaluated = follow(store, child.id, child.attempt, state in ("running", "paused"), tails)
        means = [point.mean for point in evaluated]
        points.setdefault(str(child.algo), []).append(evaluated)
        rows.append(
            TrainingRow(
                id=child.id,
                algo=str(child.algo),
                seed=child.seed,
                status=state,
                env_steps=child.env_steps,
                total_steps=child.total_steps,
                rate=child.env_steps_per_s if state == "running" else None,
                last=means[-1] if means else None,
                best=max(means[1:] or means) if means else None,
                curve=thinned(means, 60),
                error=child.error or "",
            )
        )
    return tuple(rows), points


def _curves(points: dict[str, list[list[Point]]], memory: dict[str, Any]) -> tuple[Curve, ...]:
    """A curve for each algorithm; one with no new evaluation is the same object as before."""
    known: dict[str, tuple[object, Curve | None]] = memory.setdefault("curves", {})
    for algo, seeds in points.items():
        state = [(len(evaluated), id(evaluated)) for evaluated in seeds]
        if algo not in known or known[algo][0] != state:
            evaluated = [points for points in seeds if points]
            known[algo] = state, _curve(algo, evaluated, memory.setdefault("intervals", {}))
    return tuple(curve for algo in points if (curve := known[algo][1]) is not None)


def _curve(
    algo: str,
    seeds: Sequence[Sequence[Point]],
    known: dict[tuple[float, ...], tuple[float, float, float]],
) -> Curve | None:
    if not seeds:
        return None
    at = thinned(range(max(map(len, seeds))), CURVE_POINTS)
    steps, wall, centre, low, high = [], [], [], [], []
    for k in at:
        there = [points[k] for points in seeds if len(points) > k]
        middle, bottom, top = _spread(tuple(point.mean for point in there), known)
        steps.append(sum(point.env_steps for point in there) / len(there))
        wall.append(sum(point.wall_s for point in there) / len(there))
        centre.append(middle)
        low.append(bottom)
        high.append(top)
    return Curve(
        algo, len(seeds), tuple(steps), tuple(wall), tuple(centre), tuple(low), tuple(high)
    )


def _spread(
    scores: tuple[float, ...], known: dict[tuple[float, ...], tuple[float, float, float]]
) -> tuple[float, float, float]:
    """Interquartile mean of seeds' scores and the ends of its interval."""
    if len(scores) == 1:
        return scores * 3
    if scores not in known:
        from marl.statistics import bootstrap_interval, iqm

        middle = float(iqm(scores))
        ends = bootstrap_interval([scores], iqm, resamples=_RESAMPLES) or (middle, middle)
        known[scores] = middle, *ends
    return known[scores]


def _slow(store: Store, run: Run, status: str, memory: dict[str, Any]) -> tuple[Log, str, Usage]:
    """What is read once a second only, or once."""
    now = time.monotonic()
    if "slow" not in memory or now - memory["slow_at"] >= SLOW_EVERY_S:
        memory["slow_at"] = now
        if "configuration" not in memory:
            from qllm.config.yaml_text import dump

            memory["configuration"] = dump(run.config) if run.config else ""
        usage = read_usage(run, status, memory)
        memory["slow"] = read_log(store, run, memory), memory["configuration"], usage
    slow: tuple[Log, str, Usage] = memory["slow"]
    return slow
