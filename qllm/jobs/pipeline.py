"""``qllm run``: synthesise, check, select, gate, train, evaluate, report."""

from __future__ import annotations

from typing import Any

from marl.errors import SettingsError
from prompts.cards import TaskCard
from qllm.config.tree import RunConfig
from qllm.errors import WorkError
from qllm.jobs.comparison import create_run, kept_credit, training_status
from qllm.jobs.continuing import continued
from qllm.jobs.credit import Credit
from qllm.jobs.reports import REPORT_FILE, keep_curves, keep_report
from qllm.jobs.rows import result_rows
from qllm.jobs.session import Outcome, Session
from qllm.jobs.synthesis import check_search, given, search
from qllm.jobs.tasks import playable_card, task_card, with_absolute_paths, with_reward_scale
from qllm.jobs.trainings import create_trainings, preflight, run_trainings
from qllm.store.schema import Run

_SEARCH_KEYS = (
    "coder",
    "evaluator",
    "constraint",
    "candidates",
    "accepted",
    "stages",
    "selected",
    "decided",
    "most_promising",
    "reason",
    "gate",
    "rounds",
    "rejections",
    "pilot_steps",
    "pilot_updates",
    "tokens",
    "seconds",
)
"""What a run's document says of its search."""


def start_pipeline(session: Session, config: RunConfig, *, go_on: bool = False) -> Outcome:
    """The whole way for one task.

    Args:
        go_on: with the newest run of the same command, where there is one.

    Raises:
        UsageError: the settings cannot work; no run was made.
        WorkError: the sandbox is not available here.
    """
    config = with_reward_scale(with_absolute_paths(config))
    card = playable_card(config)
    check_search(session, config, card)
    outcome = continued(session, "run", config, given(session, config)) if go_on else None
    if outcome is not None:
        return outcome
    return _carry_on(session, create_run(session, "run", config, card), config, card)


def resume_pipeline(session: Session, run: Run, config: RunConfig) -> Outcome:
    """Go on where the run was interrupted: in its search, or in its trainings."""
    card = task_card(config)
    check_search(session, config, card)
    return _carry_on(session, run.id, config, card)


def _carry_on(session: Session, run_id: int, config: RunConfig, card: TaskCard) -> Outcome:
    store = session.store
    with session.working(run_id) as attempt:
        credit, found = _selected(session, run_id, attempt, config, card)
        outcome = _trained(session, run_id, config, card, credit, found)
        store.runs.finish(run_id, outcome.status, error=outcome.error, result=outcome.document)
        keep_report(session, run_id)
    return outcome


def _selected(
    session: Session,
    run_id: int,
    attempt: int,
    config: RunConfig,
    card: TaskCard,
) -> tuple[Credit | None, dict[str, Any]]:
    """The function to train with, from an earlier attempt or from a search now."""
    run = session.store.runs.get(run_id)
    kept = kept_credit(session, run, config, card)
    if kept is not None and run.result is not None:
        session.display.note(f"selected before: {kept.name}")
        return kept, {k: v for k, v in run.result.items() if k in _SEARCH_KEYS}
    found = search(session, run_id, attempt, config, card)
    document = {key: found.document[key] for key in _SEARCH_KEYS}
    session.store.runs.set_result(run_id, document)
    return found.credit, document


def _trained(
    session: Session,
    run_id: int,
    config: RunConfig,
    card: TaskCard,
    credit: Credit | None,
    found: dict[str, Any],
) -> Outcome:
    store, report = session.store, session.store.run_dir(run_id) / REPORT_FILE

    def outcome(status: Any, error: str | None = None) -> Outcome:
        document = {
            "run": run_id,
            "task": card.name,
            "status": status,
            **found,
            "rows": result_rows(store, run_id),
            "curves_path": keep_curves(session, run_id),
            "report_path": str(report),
        }
        return Outcome(run_id, status, document, error, session.control.signal)

    if credit is None:
        if session.control.stopping(run_id):
            return outcome("stopped")
        return outcome("failed", found["reason"])
    if not any(child.kind == "train" for child in store.runs.children(run_id)):
        try:
            preflight(card, config, config.algorithms, credit)
        except SettingsError as error:
            raise WorkError(str(error), run_id) from None
    create_trainings(session, run_id, config, card, config.algorithms)
    failures = run_trainings(session, run_id, card, credit, config.parallel)
    return outcome(*training_status(session, run_id, failures))
