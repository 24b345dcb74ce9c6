"""The pieces of a plan, joined into one run of a store: in the plan's order, as often as you like.

The run is the one that ``qllm compare`` would have made in one process. Pieces that have not
finished are left out, and a later merge adds them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.vllm.locks import FolderLock
from qllm.errors import UsageError, WorkError
from qllm.jobs.continuing import shown_again
from qllm.jobs.runner import Job, create_run
from qllm.jobs.session import FinalStatus, Outcome, Session
from qllm.jobs.trainings import create_trainings
from qllm.paths import DATABASE_NAME
from qllm.plans.piece import open_piece, piece_folder, run_of
from qllm.plans.plan import Piece, Plan
from qllm.store.folders import ID_FILE
from qllm.store.runs import derived_status
from qllm.store.schema import Run
from qllm.store.states import ACTIVE
from qllm.store.store import Store
from qllm.store.transfer import copy_training, recorded_otherwise


@dataclass(frozen=True)
class Missing:
    """A piece that has not finished."""

    piece: Piece
    status: str
    """``not begun``, or that of its run."""
    error: str | None = None

    @property
    def words(self) -> str:
        return f"{self.piece.title} {self.error or self.status}"

    def document(self) -> dict[str, Any]:
        return {**self.piece.model_dump(), "status": self.status, "error": self.error}


def merge(session: Session, plan: Plan, home: Path) -> Outcome:
    """Bring the finished pieces into the session's store.

    Args:
        home: holds the folders of the pieces.

    Returns:
        The outcome of the run, ``stopped`` or ``failed`` while pieces are missing; they stand in
        its document under ``missing``.

    Raises:
        UsageError: no piece has finished, or another process works on the run.
        WorkError: what is there contradicts the pieces; nothing was changed.
    """
    finished, missing = pieces_of(plan, home)
    if not finished:
        raise UsageError(f"no piece has finished in '{plan.folder(home)}': {_listed(missing)}")
    with FolderLock(plan.folder(home)).attempt() as alone:
        if not alone:
            raise UsageError("another process merges this plan: wait for it")
        return _merge(session, plan, finished, missing)


def pieces_of(plan: Plan, home: Path) -> tuple[dict[Piece, Path], list[Missing]]:
    """The folders of the pieces that have finished, and the other pieces."""
    pieces = {piece: piece_folder(plan, piece, home) for piece in plan.pieces}
    found = {piece: _missing(plan, piece, folder) for piece, folder in pieces.items()}
    missing = [one for one in found.values() if one is not None]
    return {piece: pieces[piece] for piece, lack in found.items() if lack is None}, missing


def merged_run(store: Store, plan: Plan) -> Run | None:
    """The run that a plan was merged into before."""
    runs = store.runs.listed(top_level=True, kind=plan.kind)
    ours = (run for run in runs if not run.damage and run.inputs.get("plan") == plan.hash)
    return next((run for run in ours if "piece" not in run.inputs), None)


def _missing(plan: Plan, piece: Piece, folder: Path) -> Missing | None:
    if not (folder / DATABASE_NAME).exists():
        return Missing(piece, "not begun")
    with open_piece(folder) as store:
        run = run_of(store, plan, piece, folder)
        status = "not begun" if run is None else derived_status(run)
        error = run.error if run is not None and status == "failed" else None
    return None if status == "finished" else Missing(piece, status, error)


def _listed(missing: list[Missing]) -> str:
    return "; ".join(one.words for one in missing)


def _merge(
    session: Session, plan: Plan, finished: Mapping[Piece, Path], missing: list[Missing]
) -> Outcome:
    store, config, card = session.store, plan.settings, plan.playable_card()
    run = merged_run(store, plan)
    if run is not None and derived_status(run) in ACTIVE:
        raise UsageError(f"run {run.id} is at work: `qllm stop {run.id}` stops it")
    there = {} if run is None else _trainings(store, run.id)
    if run is not None:
        _refuse_conflicts(store, there, finished)
        if run.status == "finished":
            session.display.note(f"run {run.id} has been merged already")
            return shown_again(store, run)
    run_id = run.id if run is not None else None
    if run_id is None:
        inputs = {} if plan.credit is None else plan.credit.inputs
        run_id = create_run(session, plan.kind, config, card, {**inputs, "plan": plan.hash})
    if plan.credit is not None:
        plan.credit.keep(store.make_run_dir(run_id))
    job = Merging(session, plan.kind, run_id, config, card, None, finished, missing)
    outcome = job.work()
    outcome.document["missing"] = [one.document() for one in missing]
    return outcome


def _trainings(store: Store, run_id: int) -> dict[tuple[str | None, int | None], Run]:
    return {(run.algo, run.seed): run for run in store.runs.trainings(run_id)}


def _refuse_conflicts(
    store: Store,
    there: Mapping[tuple[str | None, int | None], Run],
    finished: Mapping[Piece, Path],
) -> None:
    """Refuse where the store has something else in the place of a finished piece."""
    conflicts = []
    for piece, folder in finished.items():
        run = there.get((piece.label, piece.seed))
        if run is None or (run.status == "queued" and not run.attempt):
            continue
        if run.status != "finished":
            conflicts.append(f"run {run.name} was begun here, too, and is {derived_status(run)}")
            continue
        with open_piece(folder) as source:
            own = source.runs.trainings(1)[0]
            what = recorded_otherwise(source, own.id, store, run.id)
        if what is not None:
            conflicts.append(f"{piece.title} in '{folder}' has other {what} than run {run.name}")
    if conflicts:
        raise WorkError(f"{'; '.join(conflicts)}: nothing was merged; merge into another home")


@dataclass
class Merging(Job):
    """The job of a run whose trainings were done elsewhere."""

    finished: Mapping[Piece, Path]
    missing: list[Missing]

    def train(self) -> tuple[FinalStatus, str | None]:
        """Import what is missing; returns the status of the whole."""
        store = self.session.store
        create_trainings(self.session, self.run_id, self.config, self.card)
        there = _trainings(store, self.run_id)
        for piece, folder in self.finished.items():
            if there[piece.label, piece.seed].status != "finished":
                _bring(folder, store, there[piece.label, piece.seed])
        store.runs.add_up(self.run_id)
        failed = [one for one in self.missing if one.status == "failed"]
        if failed:
            total = len(self.finished) + len(self.missing)
            return "failed", f"{len(failed)} of {total} trainings failed: {_listed(failed)}"
        if self.missing:
            return "stopped", f"missing: {_listed(self.missing)}"
        return "finished", None


def _bring(folder: Path, store: Store, target: Run) -> None:
    """Files before rows: once the row says finished, everything is complete."""
    with open_piece(folder) as source:
        run = source.runs.trainings(1)[0]
        if run.config != target.config:
            raise WorkError(f"'{folder}' trained with other settings than run {target.name}")
        try:
            shutil.copytree(
                source.run_dir(run.id),
                store.make_run_dir(target.id),
                symlinks=True,
                ignore=shutil.ignore_patterns(ID_FILE),
                dirs_exist_ok=True,
            )
        except (OSError, shutil.Error) as error:
            raise WorkError(f"the files of '{folder}' cannot be copied: {error}") from None
        copy_training(source, run.id, store, target.id)
