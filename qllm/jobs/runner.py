"""Jobs of every kind, ``[search] -> [trainings] -> report``: begin one, or go on with it.

``synth`` searches, ``train`` and ``compare`` train, ``run`` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from marl.settings.stored import has_retired
from prompts.cards import TaskCard
from qllm.config.build import from_stored, to_yaml
from qllm.config.tree import RunConfig
from qllm.errors import UsageError, WorkError
from qllm.export.kinds import require_trackers
from qllm.jobs.advice import advice
from qllm.jobs.continuing import shown_again, to_continue
from qllm.jobs.credit import Credit, kept_credit, start_sources
from qllm.jobs.initial import find_initial, keep_initial
from qllm.jobs.reports import REPORT_FILE, keep, write_run_curves, write_run_report
from qllm.jobs.rows import result_rows
from qllm.jobs.search import check_search, search
from qllm.jobs.session import FinalStatus, Outcome, Session
from qllm.jobs.tasks import playable_card, task_card, with_absolute_paths, with_reward_scale
from qllm.jobs.trainings import (
    check_trainings,
    checked_credit,
    create_trainings,
    run_trainings,
)
from qllm.jobs.versions import versions
from qllm.store.runs import derived_status, require_sound
from qllm.store.schema import Run
from qllm.store.states import ACTIVE, SEARCHES, TRAINS, Kind
from qllm.store.store import Store

CONFIG_FILE = "config.yaml"


def start(
    session: Session,
    kind: Kind,
    config: RunConfig,
    *,
    go_on: bool = False,
    made: Callable[[int], None] = lambda run_id: None,
    job: type[Job] | None = None,
) -> Outcome:
    """Begin a run and work on it to its end.

    Args:
        go_on: with the newest run of the same command, where there is one.
        made: told the number of a new run before the work on it.
        job: who works on it; `Job` by default.

    Raises:
        UsageError: the settings cannot work; no run was made.
        WorkError: the credit function was rejected, or the sandbox is not available here.
    """
    config = with_reward_scale(with_absolute_paths(config))
    card = playable_card(config)
    credit, inputs = None, dict[str, Any]()
    if kind in SEARCHES:
        check_search(session, config, card)
        same = {"start": list(start_sources(session.store, config.synth.start))} if go_on else {}
    else:
        credit = checked_credit(session.store, session.sandboxes, config, card)
        if credit is not None:
            inputs = credit.inputs()
        same = {key: value for key, value in inputs.items() if key == "graph_hash"}
    if go_on:
        run = to_continue(session, kind, config, same)
        if run is not None and derived_status(run) == "finished":
            session.display.note(f"run {run.id} has finished already: {run.command}")
            return shown_again(session.store, run)
        if run is not None:
            return resume(session, run.id, job=job)
    initial = find_initial(session.store, config, card, credit)
    run_id = create_run(session, kind, config, card, inputs)
    made(run_id)
    if credit is not None:
        credit.keep(session.store.make_run_dir(run_id), card)
    if initial:
        create_trainings(session, run_id, config, card)
        keep_initial(session.store, run_id, initial)
    return (job or Job)(session, kind, run_id, config, card, credit).work()


def resume(
    session: Session, run_id: int, *, parallel: int | None = None, job: type[Job] | None = None
) -> Outcome:
    """Go on with an unfinished run; one that belongs to another goes on as part of that.

    Nothing is done twice: answers, pilots, a selection and finished trainings are kept.

    Args:
        parallel: trainings at once from now on; None keeps what the run was started with.
        job: who works on it; `Job` by default.

    Raises:
        UnknownRunError: there is no such run.
        UsageError: it has finished, or works at this moment, or a package is missing.
        StoreError: a row of it is damaged.
    """
    store = session.store
    asked = store.runs.get(run_id)
    run = root_of(store, asked)
    if run.id != asked.id:
        session.display.note(f"run {asked.name} belongs to run {run.id}, which is resumed")
    status = derived_status(run)
    if status == "finished":
        raise UsageError(f"run {run.id} has finished: `qllm report {run.id}` shows its results")
    if status in ACTIVE:
        raise UsageError(
            f"run {run.id} is {status} in process {run.pid} on {run.host}:"
            f" `qllm stop {run.id}` stops it"
        )
    require_sound(store.runs.family(run.id))
    if has_retired(run.config):
        raise UsageError(
            f"run {run.id} learned from raw or standardised rewards, and this version divides them "
            f"by a fixed scale: `qllm report {run.id}` shows it, but it cannot be resumed"
        )
    config = from_stored(run.config)
    require_trackers(config.log)
    if parallel is not None:
        config = config.model_copy(update={"parallel": parallel})
    session.display.note(f"run {run.id}: resuming {run.kind} {run.task} ({status})")
    card = task_card(config)
    if run.kind in SEARCHES:
        check_search(session, config, card)
    # A search alone looks for its function anew, from its recorded answers.
    credit = kept_credit(session, run, config, card) if run.kind in TRAINS else None
    return (job or Job)(session, cast(Kind, run.kind), run.id, config, card, credit).work()


def root_of(store: Store, run: Run) -> Run:
    """The run that a run belongs to, or itself."""
    while run.parent_id and run.parent_id < run.id:
        run = store.runs.get(run.parent_id)
    return run


def create_run(
    session: Session,
    kind: Kind,
    config: RunConfig,
    card: TaskCard,
    inputs: Mapping[str, Any] | None = None,
) -> int:
    """A new top-level run with its resolved configuration on disk beside it."""
    run_id = session.store.runs.create(
        kind,
        card.name,
        config=config.model_dump(mode="json"),
        command=session.command,
        versions=versions(),
        algo=config.algorithm.label if kind == "train" else None,
        inputs=inputs,
    )
    folder = session.store.make_run_dir(run_id)
    (folder / CONFIG_FILE).write_text(to_yaml(config), encoding="utf-8")
    session.display.note(f"run {run_id}: {kind} {card.name}")
    for warning in advice(config, card) if kind != "synth" else ():
        session.notice(warning, warning)
    return run_id


@dataclass
class Job:
    """The rest of a run: its search, then its trainings, then its report."""

    session: Session
    kind: Kind
    run_id: int
    config: RunConfig
    card: TaskCard
    credit: Credit | None
    """The function to train with, once it was given or selected."""

    def work(self) -> Outcome:
        """Do it all, as far as it goes."""
        session, run_id = self.session, self.run_id
        document: dict[str, Any] = {}
        with session.working(run_id) as attempt:
            status: FinalStatus = "finished"
            error = None
            if self.kind in SEARCHES:
                document, status, error = self._search(attempt)
            if self.kind in TRAINS:
                if status == "finished":
                    status, error = self.train()
                document["rows"] = result_rows(session.store, run_id)
            session.store.runs.finish(run_id, status, error=error, result=document)
        shown = {"run": run_id, "task": self.card.name, "status": status, **document}
        if self.kind in TRAINS:
            curves = keep(session, run_id, write_run_curves)
            shown["curves_path"] = None if curves is None else str(curves)
        shown["report_path"] = str(session.store.run_dir(run_id) / REPORT_FILE)
        keep(session, run_id, write_run_report)
        return Outcome(run_id, status, shown, error, session.control.signal)

    def _search(self, attempt: int) -> tuple[dict[str, Any], FinalStatus, str | None]:
        """Select a function, unless an earlier attempt has; returns the search's outcome."""
        runs = self.session.store.runs
        result = runs.get(self.run_id).result
        if self.credit is not None and result is not None:
            self.session.display.note(f"selected before: {self.credit.name}")
            return dict(result), "finished", None
        found = search(self.session, self.run_id, attempt, self.config, self.card)
        self.credit = found.credit
        if self.kind in TRAINS:
            runs.set_result(self.run_id, found.document)
        if found.credit is not None:
            return found.document, "finished", None
        reason = found.document["reason"]
        if found.status == "stopped":
            return found.document, "stopped", None if self.kind in TRAINS else reason
        return found.document, "failed", reason

    def train(self) -> tuple[FinalStatus, str | None]:
        """Do every training that has not finished; how they ended."""
        session, run_id, config = self.session, self.run_id, self.config
        if self.kind in SEARCHES and not session.store.runs.trainings(run_id):
            try:
                check_trainings(self.card, config, self.credit)
            except UsageError as error:
                raise WorkError(str(error), run_id) from None
        create_trainings(session, run_id, config, self.card)
        failures = run_trainings(session, run_id, self.card, self.credit, config.parallel)
        trainings = session.store.runs.trainings(run_id)
        if failures:
            return "failed", f"{len(failures)} of {len(trainings)} trainings failed: {failures[0]}"
        if all(training.status == "finished" for training in trainings):
            return "finished", None
        return "stopped", session.control.reason
