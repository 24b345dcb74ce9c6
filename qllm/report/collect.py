"""From the run store to what a report shows.

Works for any run at any time: one that has just begun, failed, was stopped or has finished. What
is not there yet is left out, and rendering says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from marl.statistics import learning_curve
from prompts.cards import CardError, StateSlice, load_card
from qllm.config.yaml_text import dump
from qllm.jobs.rows import Row, rows_of
from qllm.report.at_work import credit_episode
from qllm.report.data import Curve, Report, ResultRow, RunFacts, StateSliceFacts, TaskFacts
from qllm.report.generated import given_credit, isolation, synthesis_facts
from qllm.store.runs import derived_status, single_trainings
from qllm.store.schema import Run
from qllm.store.store import Store

_BAND_WORDS = (
    "Line: interquartile mean over seeds of the mean return of each greedy evaluation. Band: 95%"
    " bootstrap interval of it over seeds."
)
_LONE_SEED_WORDS = (
    "Line: mean return of each greedy evaluation. One seed has no interval over seeds."
)
_CUT_WORDS = " Curves end where the shortest of their seeds ends."


def collect(store: Store, run_id: int) -> Report:
    """Everything that the store knows of a run and of the runs that belong to it.

    Raises:
        qllm.store.runs.UnknownRunError: there is no such run.
        qllm.store.errors.StoreError: the store cannot be read.
    """
    run = store.runs.get(run_id)
    family = store.runs.family(run_id)
    trainings = single_trainings(family)
    curves = curves_of(store, trainings)
    synthesis = synthesis_facts(store, family)
    rows = tuple(_result_row(row) for row in rows_of(store, run))
    return Report(
        run=_run_facts(run),
        task=_task_facts(str(run.config.get("task") or run.task)),
        synthesis=synthesis,
        credit=given_credit(store, family) if synthesis is None else None,
        episode=credit_episode(store, family),
        rows=rows,
        curves=curves,
        curve_words=curve_words(curves),
        seeds=tuple(sorted({r.seed for r in trainings if r.seed is not None})),
        settings_yaml=dump(run.config) if run.config else "",
        versions=run.versions or {},
        isolation=isolation(store, family),
    )


def _run_facts(run: Run) -> RunFacts:
    ended = run.ended or run.beat
    return RunFacts(
        id=run.id,
        kind=run.kind,
        task=run.task,
        status=derived_status(run),
        command=run.command,
        created=run.created,
        wall_s=ended - run.started if run.started is not None and ended is not None else None,
        attempts=run.attempt,
        error=run.error,
    )


# -- results ---------------------------------------------------------------------------------


def _result_row(row: Row) -> ResultRow:
    interval = row["return_ci"]
    return ResultRow(
        algo=str(row["algo"]),
        seed=row["seed"],
        env_steps=row["env_steps"],
        env_steps_per_s=row["env_steps_per_s"],
        return_mean=row["return_mean"],
        return_iqm=row["return_iqm"],
        return_ci=(interval[0], interval[1]) if interval else None,
        return_ci_over=row["return_ci_over"],
        best_return_mean=row["best_return_mean"],
        learnable_parameters=row["learnable_parameters"],
        pilot_steps=row.get("pilot_steps", 0),
        wall_s=row["wall_s"],
        status=str(row.get("status", "finished")),
    )


def curves_of(store: Store, trainings: Sequence[Run]) -> tuple[Curve, ...]:
    """The learning curves of trainings, one for each algorithm that has been evaluated."""
    by_algorithm: dict[str, list[Run]] = {}
    for run in trainings:
        by_algorithm.setdefault(str(run.algo), []).append(run)
    curves = [_curve(store, algo, runs) for algo, runs in by_algorithm.items()]
    return tuple(curve for curve in curves if curve is not None)


def _curve(store: Store, algo: str, runs: Sequence[Run]) -> Curve | None:
    # As in the table, seeds that have finished speak for the algorithm; the others only where
    # none has.
    finished = [run for run in runs if run.status == "finished"]
    evaluated = {
        run.seed: [(e.env_steps, e.returns) for e in store.training.evaluations(run.id)]
        for run in finished or runs
        if run.seed is not None
    }
    evaluated = {seed: points for seed, points in evaluated.items() if points}
    if not evaluated:
        return None
    # A point over fewer seeds than its neighbours would be a jump that means nothing.
    shortest = min(len(points) for points in evaluated.values())
    points = learning_curve([points[:shortest] for points in evaluated.values()])
    intervals = [point.ci for point in points if point.ci is not None]
    whole = len(intervals) == len(points)
    return Curve(
        algo=algo,
        steps=tuple(round(point.env_steps) for point in points),
        centre=tuple(point.iqm for point in points),
        low=tuple(low for low, _ in intervals) if whole else None,
        high=tuple(high for _, high in intervals) if whole else None,
        seeds=tuple(sorted(evaluated)),
        cut=any(len(points) > shortest for points in evaluated.values()),
    )


def curve_words(curves: Sequence[Curve]) -> str:
    """What line and band of drawn curves stand for."""
    words = _BAND_WORDS if any(c.low is not None for c in curves) else _LONE_SEED_WORDS
    return words + (_CUT_WORDS if any(c.cut for c in curves) else "")


# -- the task --------------------------------------------------------------------------------


def _task_facts(name: str) -> TaskFacts | None:
    try:
        card = load_card(name)
    except CardError:
        return None  # a card of the user's own that has moved since; the report can do without
    return TaskFacts(
        title=card.title,
        prose=card.prose,
        n_agents=card.n_agents,
        n_actions=card.n_actions,
        horizon=card.horizon,
        gamma=card.gamma,
        reward=f"{card.reward.low:g} to {card.reward.high:g}: {card.reward.meaning}",
        state=tuple(_slice_facts(piece, at) for piece, at in card.offsets()),
    )


def _slice_facts(piece: StateSlice, at: int) -> StateSliceFacts:
    last = at + piece.size - 1
    values, meaning = f"{piece.low:g} to {piece.high:g}", piece.meaning
    if piece.unused:
        values = "unused"
    if piece.sentinels:
        special = ", ".join(f"{value:g}" for value in piece.sentinels)
        values += f", or {special}"
        meaning += f"; {special}: {piece.sentinel_meaning}"
    return StateSliceFacts(
        name=piece.name,
        columns=str(at) if last == at else f"{at} to {last}",
        kind=piece.kind,
        range=values,
        meaning=meaning,
    )
