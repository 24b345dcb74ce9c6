"""Comparisons of runs. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from marl.settings.base import leaves
from marl.statistics import Difference, Interval, paired_difference
from qllm.config.yaml_text import dump_inline
from qllm.errors import UsageError
from qllm.facts import phrases
from qllm.facts.curves import Curve, curve_words, curves_of
from qllm.facts.differences import BASELINE
from qllm.facts.results import ResultRow, results_of
from qllm.store.runs import derived_status, single_trainings
from qllm.store.schema import Run
from qllm.store.store import Store
from qllm.units import ABSENT, whole


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs."""

    id: int
    kind: str
    task: str
    status: str
    command: str
    created: float
    preset: str = ""
    steps: int | None = None
    """Environment steps of each training, as configured."""


@dataclass(frozen=True)
class Entry:
    """One algorithm of one run."""

    run: int
    algo: str
    label: str
    """``#7 qmix``: the run and the algorithm."""
    task: str
    status: str
    seeds: int
    """Seeds that have finished."""
    iqm: float | None = None
    ci: Interval | None = None
    mean: float | None = None
    mean_ci: Interval | None = None
    env_steps: int | None = None
    pilot_steps: int | None = 0
    scores: tuple[tuple[int, float], ...] = ()
    """Of every finished seed, the mean return of its last evaluation."""
    difference: Difference | None = None
    """Against the reference; ``None`` for itself, for another task and where no seed is shared."""
    curve: Curve | None = None
    metrics: Mapping[str, tuple[float, Interval | None]] = field(default_factory=dict)
    """The card's metrics at the last evaluation: mean, and interval over seeds."""


@dataclass(frozen=True)
class Differing:
    """A setting in which the runs differ; ``values`` go with the runs, empty where it is absent."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A comparison of runs."""

    runs: tuple[ComparedRun, ...]
    entries: tuple[Entry, ...]
    reference: str
    """Label of the entry that the others are compared with; empty without entries."""
    reference_why: str
    """Reason of this choice, such as ``the plain sum with most finished seeds``."""
    settings: tuple[Differing, ...]
    same: int
    """How many settings are the same in all runs."""
    curve_words: str
    """Meaning of the curves' line and band."""

    @property
    def curves(self) -> tuple[Curve, ...]:
        """The curves of all entries, each called by its entry's label."""
        return tuple(replace(e.curve, algo=e.label) for e in self.entries if e.curve is not None)

    @property
    def unlike(self) -> tuple[str, ...]:
        """Confounding differences between the runs, a sentence each."""
        return tuple(_unlike(self.runs))

    @property
    def cautions(self) -> tuple[str, ...]:
        """Limits of the comparison, a sentence or two each."""
        return tuple(_cautions(self))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes below the table: the cautions, then the meaning of its numbers."""
        return (*self.cautions, *_explanations(self))


def compare_runs(
    store: Store, run_ids: Sequence[int], *, reference: str | None = None
) -> Comparison:
    """Compare runs.

    Args:
        run_ids: in the order in which they are shown.
        reference: label of the entry to compare the others with; by default the one
            with most finished seeds, of those that trained the plain sum of the agents' values
            (VDN) if there are any; the first of equals.

    Raises:
        UnknownRunError: one of them does not exist.
        UsageError: no entry that has finished a seed has this label.
    """
    runs = [store.runs.get(run_id) for run_id in dict.fromkeys(run_ids)]
    entries = [entry for run in runs for entry in entries_of(store, run)]
    known = [entry.label for entry in entries if entry.scores]
    if reference is not None and reference not in known:
        why = "none of these runs has a finished seed"
        if known:
            why = f"choose among {', '.join(map(repr, known))}"
        raise UsageError(f"{reference!r} cannot be the reference: {why}")
    return assemble(runs, entries, reference=reference)


def assemble(
    runs: Sequence[Run], entries: Sequence[Entry], *, reference: str | None = None
) -> Comparison:
    """`compare_runs` of entries that are known already; an unknown reference counts as none."""
    from qllm.config.stored import stored_settings

    against, why = _against(entries, reference)
    curves = [entry.curve for entry in entries if entry.curve is not None]
    settings, same = _settings([stored_settings(run.config or {}) for run in runs])
    return Comparison(
        runs=tuple(
            ComparedRun(
                r.id,
                r.kind,
                r.task,
                derived_status(r),
                r.command,
                r.created,
                r.settings.preset,
                r.settings.steps,
            )
            for r in runs
        ),
        entries=tuple(replace(e, difference=_difference(e, against)) for e in entries),
        reference=against.label if against is not None else "",
        reference_why=why,
        settings=settings,
        same=same,
        curve_words=curve_words(curves) if curves else "",
    )


def _against(entries: Sequence[Entry], reference: str | None) -> tuple[Entry | None, str]:
    measured = [entry for entry in entries if entry.scores]
    chosen = next((e for e in measured if e.label == reference), None)
    if chosen is not None:
        return chosen, "as chosen"
    plain = [entry for entry in measured if entry.algo == BASELINE]
    # The first of those with most seeds: max keeps the first of equals.
    best = max(plain or measured, key=lambda entry: entry.seeds, default=None)
    return best, f"the {'plain sum' if plain else 'one'} with most finished seeds"


def entries_of(store: Store, run: Run) -> list[Entry]:
    """The algorithms of one run."""
    trainings = single_trainings(store.runs.family(run.id))
    curves = {curve.algo: curve for curve in curves_of(store, trainings)}
    by_algorithm: dict[str, list[ResultRow]] = {}
    for row in results_of(store, run):
        by_algorithm.setdefault(row.algo, []).append(row)
    return [_entry(run, rows, curves.get(algo)) for algo, rows in by_algorithm.items()]


def _entry(run: Run, rows: Sequence[ResultRow], curve: Curve | None) -> Entry:
    # One seed of several has no row of an algorithm: its own stands for it.
    whole = next((row for row in rows if row.seed is None), rows[0])
    scores = [
        (row.seed, row.return_mean)
        for row in rows
        if row.seed is not None and row.status == "finished" and row.return_mean is not None
    ]
    over_seeds = whole.return_ci_over == "seeds"
    return Entry(
        run=run.id,
        algo=whole.algo,
        label=f"#{run.name} {whole.algo}",
        task=run.task,
        status=whole.status,
        seeds=len(scores),
        iqm=whole.return_iqm,
        ci=whole.return_ci if over_seeds else None,
        mean=whole.return_mean,
        mean_ci=whole.return_mean_ci if over_seeds else None,
        env_steps=whole.env_steps,
        pilot_steps=whole.pilot_steps,
        scores=tuple(scores),
        curve=curve,
        metrics=whole.metrics,
    )


def _difference(entry: Entry, against: Entry | None) -> Difference | None:
    if against is None or entry.label == against.label or entry.task != against.task:
        return None
    return paired_difference(dict(entry.scores), dict(against.scores))


def _settings(configs: Sequence[Mapping[str, Any]]) -> tuple[tuple[Differing, ...], int]:
    flat = [{p: dump_inline(v) for p, v in leaves(config)} for config in configs]
    differing, same = [], 0
    for path in dict.fromkeys(path for config in flat for path in config):
        values = tuple(config.get(path, "") for config in flat)
        if len(set(values)) > 1:
            differing.append(Differing(path, values))
        else:
            same += 1
    return tuple(differing), same


def _cautions(comparison: Comparison) -> Iterator[str]:
    if not comparison.entries:
        yield "None of these runs has trained anything yet."
        return
    yield from comparison.unlike
    lone = [e.label for e in comparison.entries if e.seeds == 1]
    if lone:
        who = f"Only one finished seed in {', '.join(lone)}"
        if len(lone) == len(comparison.entries):
            who = "One finished seed each"
        yield (
            f"{who}: no interval, and a difference says little. For several seeds: --seeds"
            " 0,1,2,3,4 (in the form: seeds 0,1,2,3,4)."
        )
    reference = next((e for e in comparison.entries if e.label == comparison.reference), None)
    if reference is None:
        return
    apart = [
        e.label
        for e in comparison.entries
        if e.scores and e.difference is None and e.task == reference.task and e is not reference
    ]
    if apart:
        yield f"No seed in common with {reference.label}, so no difference: {', '.join(apart)}."


def _unlike(runs: Sequence[ComparedRun]) -> Iterator[str]:
    def each(values: Sequence[str]) -> str:
        return ", ".join(f"#{r.id} {value}" for r, value in zip(runs, values, strict=True))

    if len({run.task for run in runs}) > 1:
        tasks = each([run.task for run in runs])
        yield f"The runs are on different tasks, whose returns cannot be compared: {tasks}."
    if len({run.steps for run in runs}) > 1:
        steps = each([ABSENT if run.steps is None else whole(run.steps) for run in runs])
        yield f"The runs were trained for different numbers of steps: {steps}."
    if len({run.preset for run in runs}) > 1:
        yield f"The runs have different presets: {each([run.preset or ABSENT for run in runs])}."


def _explanations(comparison: Comparison) -> Iterator[str]:
    if not comparison.entries:
        return
    yield f"{phrases.RETURN} {phrases.INTERVALS}, are over seeds. Steps are the sum over all seeds."
    if comparison.reference:
        yield (
            f"Difference: return minus that of {comparison.reference} ({comparison.reference_why})"
            " with the same seed, mean over the seeds that both have, with its 95% t interval. An"
            " interval that contains 0 does not tell the two apart."
        )
    if any(e.pilot_steps for e in comparison.entries):
        yield f"{phrases.PILOT_STEPS}."
