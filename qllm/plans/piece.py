"""One piece of a plan, done in a store of its own, which it is resumed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.vllm.locks import FolderLock
from prompts.cards import TaskCard
from qllm.display import Display
from qllm.errors import UsageError, WorkError
from qllm.executors.task import task_of
from qllm.jobs.continuing import shown_again, wait_for_a_lost_host
from qllm.jobs.credit import kept_credit
from qllm.jobs.runner import Job, create_run
from qllm.jobs.session import Outcome, Session, session_over
from qllm.jobs.trainings import check_trainings
from qllm.jobs.versions import versions
from qllm.paths import DATABASE_NAME
from qllm.plans.plan import Piece, Plan, plan_of
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.states import ACTIVE
from qllm.store.store import Store, open_store


def piece_folder(plan: Plan, piece: Piece, home: Path) -> Path:
    """The home folder of a piece."""
    return plan.folder(home) / str(piece.index)


def open_piece(folder: Path) -> Store:
    """The store of a piece, which may lie on a network filesystem."""
    url = f"sqlite:///{folder / DATABASE_NAME}"
    return open_store(folder, url=url, one_host=True)


def run_of(store: Store, plan: Plan, piece: Piece, folder: Path) -> Run | None:
    """The run in a piece's store; None where it has not begun.

    Raises:
        UsageError: the store is of another piece.
    """
    run = next(iter(store.runs.listed(top_level=True)), None)
    if run is not None and (run.inputs.get("plan"), run.inputs.get("piece")) != (
        plan.hash,
        piece.index,
    ):
        raise UsageError(f"'{folder}' is not of {piece.title} of this plan: move it away")
    return run


def piece_task(plan: Plan, index: int, home: Path) -> str:
    """The task that does a piece.

    Args:
        home: of the pieces; every machine sees it under this path.
    """
    threads = plan.settings.threads
    return task_of("piece", threads, plan=plan.document(), index=index, home=str(home))


def perform_piece(task: Mapping[str, Any], display: Display) -> dict[str, Any]:
    """Do `piece_task`; the result is in the piece's store.

    Returns:
        ``status`` of the piece, ``error`` and ``signal``.

    Raises:
        UsageError: the piece is at work elsewhere.
    """
    plan, index = plan_of(task["plan"]), task["index"]
    arguments = ["worker", f"plan {plan.hash[:16]}", "--index", str(index)]
    try:
        outcome = work_on(plan, index, Path(task["home"]), display, arguments)
    except WorkError as error:
        return {"status": "failed", "error": str(error)}
    return {"status": outcome.status, "error": outcome.error, "signal": outcome.signal}


def work_on(
    plan: Plan, index: int, home: Path, display: Display, arguments: Sequence[str]
) -> Outcome:
    """Do a piece, or what is left of it, and return its outcome; a finished one is left alone.

    Args:
        home: holds the folders of all pieces, one each.
        arguments: the words after ``qllm``, for the record.

    Raises:
        UsageError: there is no such piece, another process is at it, or it cannot be done here.
        WorkError: its credit function does not hold, or the training failed.
    """
    piece = plan.piece(index)
    card, folder = plan.playable_card(), piece_folder(plan, piece, home)
    _warn_of_versions(plan, display)
    folder.mkdir(parents=True, exist_ok=True)
    with FolderLock(folder).attempt() as alone:
        if not alone:
            raise UsageError(f"{piece.title} is at work in another process: wait for it or end it")
        with open_piece(folder) as store, session_over(store, display, arguments) as session:
            return _work(session, plan, piece, card, folder)


def _work(session: Session, plan: Plan, piece: Piece, card: TaskCard, folder: Path) -> Outcome:
    runs, config = session.store.runs, plan.settings_of(piece)
    run = run_of(session.store, plan, piece, folder)
    planned = plan.credit if config.algorithm.uses_credit else None
    if run is None:
        inputs = {"plan": plan.hash, "piece": piece.index}
        if planned is not None:
            inputs |= planned.inputs
        run = runs.get(create_run(session, "train", config, card, inputs))
    elif run.status == "finished":
        session.display.note(f"{piece.title} has finished already")
        return shown_again(session.store, run)
    wait_for_a_lost_host(session, run.id)
    if derived_status(runs.get(run.id)) in ACTIVE:
        raise UsageError(f"{piece.title} is at work on {run.host}: wait for it or end it")
    if planned is not None:
        planned.keep(session.store.make_run_dir(run.id))
    credit = kept_credit(session, run, config, card)
    check_trainings(card, config, credit)
    return Job(session, "train", run.id, config, card, credit).work()


def _warn_of_versions(plan: Plan, display: Display) -> None:
    """Say so where numbers may come out otherwise than on the machine of the plan."""
    here = versions()
    others = [
        f"{name} {here.get(name)} (planned with {version})"
        for name, version in plan.versions.items()
        if here.get(name) != version
    ]
    if others:
        display.note(f"other versions than the plan's: {', '.join(others)}", "warning")
