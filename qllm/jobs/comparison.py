"""``qllm train`` and ``qllm compare``: algorithms times seeds, and a table of what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from marl.errors import SettingsError
from marl.settings.registry import uses_credit
from prompts.cards import TaskCard
from qllm.config.build import to_yaml
from qllm.config.tree import RunConfig
from qllm.errors import UsageError, WorkError
from qllm.jobs.advice import advice
from qllm.jobs.continuing import continued
from qllm.jobs.credit import CERTIFICATE, Credit, find_credit, load_certificate
from qllm.jobs.reports import REPORT_FILE, keep_curves, keep_report
from qllm.jobs.rows import result_rows
from qllm.jobs.session import Outcome, Session
from qllm.jobs.tasks import playable_card, task_card, with_absolute_paths, with_reward_scale
from qllm.jobs.trainings import create_trainings, preflight, run_trainings
from qllm.jobs.versions import versions
from qllm.store.schema import Run

CONFIG_FILE = "config.yaml"


def start_comparison(
    session: Session, config: RunConfig, kind: Literal["train", "compare"], *, go_on: bool = False
) -> Outcome:
    """Train the configured algorithms with every seed, ``config.parallel`` at once.

    Args:
        go_on: with the newest run of the same command, where there is one.

    Raises:
        UsageError: the settings cannot work; no run was made.
        WorkError: the credit function was rejected.
    """
    config = with_reward_scale(with_absolute_paths(config))
    card = playable_card(config)
    with_credit = any(map(uses_credit, config.labels))
    credit = find_credit(session.store, config, card, session.sandboxes) if with_credit else None
    try:
        preflight(card, config, config.labels, credit)
    except SettingsError as error:
        raise UsageError(str(error)) from None
    inputs = {} if credit is None else credit.inputs()
    if go_on:
        known = {key: value for key, value in inputs.items() if key == "graph_hash"}
        outcome = continued(session, kind, config, known)
        if outcome is not None:
            return outcome
    run_id = create_run(session, kind, config, card, inputs)
    if credit is not None:
        credit.keep(session.store.make_run_dir(run_id), card)
    return _carry_on(session, run_id, config, card, credit)


def create_run(
    session: Session,
    kind: Literal["run", "synth", "train", "compare"],
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
        session.display.note(warning, "warning")
    return run_id


def resume_comparison(session: Session, run: Run, config: RunConfig) -> Outcome:
    """Go on with what has not finished; finished trainings are kept as they are."""
    card = task_card(config)
    credit = kept_credit(session, run, config, card)
    return _carry_on(session, run.id, config, card, credit)


def kept_credit(session: Session, run: Run, config: RunConfig, card: TaskCard) -> Credit | None:
    """The credit function in a run's folder, rebuilt and proved again; None if it has none."""
    if "tfcaf" not in run.inputs:
        return None
    path = session.store.run_dir(run.id) / CERTIFICATE
    report = load_certificate(path, config, card, session.sandboxes)
    graph = report.graph
    assert graph is not None
    if graph.graph_hash != run.inputs["graph_hash"]:
        raise WorkError(
            f"'{path}' holds function {graph.graph_hash[:12]}, and run {run.id} trains with"
            f" {run.inputs['graph_hash'][:12]}: put its own certificate back",
            run.id,
        )
    return Credit(
        graph,
        run.inputs["name"],
        report,
        run.inputs["candidate_id"],
        run.inputs["pilot_steps"],
    )


def _carry_on(
    session: Session,
    run_id: int,
    config: RunConfig,
    card: TaskCard,
    credit: Credit | None,
) -> Outcome:
    store = session.store
    with session.working(run_id):
        create_trainings(session, run_id, config, card, config.labels)
        failures = run_trainings(session, run_id, card, credit, config.parallel)
        status, error = training_status(session, run_id, failures)
        rows = result_rows(store, run_id)
        store.runs.finish(run_id, status, error=error, result={"rows": rows})
    document = {
        "run": run_id,
        "task": card.name,
        "status": status,
        "rows": rows,
        "curves_path": keep_curves(session, run_id),
        "report_path": str(store.run_dir(run_id) / REPORT_FILE),
    }
    keep_report(session, run_id)
    return Outcome(run_id, status, document, error, session.control.signal)


def training_status(
    session: Session, run_id: int, failures: list[str]
) -> tuple[Literal["finished", "stopped", "failed"], str | None]:
    """How a run ended whose trainings have been worked on."""
    children = [run for run in session.store.runs.children(run_id) if run.kind == "train"]
    if failures:
        return "failed", f"{len(failures)} of {len(children)} trainings failed: {failures[0]}"
    if all(child.status == "finished" for child in children):
        return "finished", None
    return "stopped", None
