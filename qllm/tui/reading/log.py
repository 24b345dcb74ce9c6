"""The log of a run: attempts, commands, notes, errors, and its job's output."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompts.bounded import BoundsError, open_regular
from qllm.spawn import tail
from qllm.store.numbers import run_name
from qllm.store.states import SEARCHES
from qllm.units import number

if TYPE_CHECKING:
    from qllm.facts.runs import RunFacts
    from qllm.store.schema import Run
    from qllm.store.store import Store

_TAIL_BYTES = 32_768
_HEAD_BYTES = 4_096
_MOST_FILES = 200
_MOST_LINES = 400
_RUN = re.compile(rb"^run (\d+): ", re.MULTILINE)


@dataclass(frozen=True)
class Log:
    """Untrusted lines of text, oldest first; escape them before showing."""

    events: tuple[str, ...]
    printed: tuple[str, ...]
    """The end of the job's output, if the app started it."""
    path: str = ""
    """The file of the output."""
    folder: str = ""
    """The run's folder."""
    files: tuple[str, ...] = ()
    """Its contents."""


def read_log(
    store: Store,
    run: Run,
    status: str,
    trainings: Sequence[RunFacts],
    memory: dict[str, Any],
) -> Log:
    """The current log of a run."""
    path = _file_of(store.home, run.id, memory)
    folder = store.run_dir(run.id)
    return Log(
        tuple(_events(store, run, status, trainings)),
        tuple(tail(path, _TAIL_BYTES)[-_MOST_LINES:]) if path else (),
        str(path or ""),
        str(folder),
        _files(folder),
    )


def _events(store: Store, run: Run, status: str, trainings: Sequence[RunFacts]) -> list[str]:
    from sqlalchemy import select

    from qllm.store.schema import Command
    from synth.candidates import labelled

    told: list[tuple[float, str]] = [(run.created, f"made by {run.command}")]
    for attempt in store.runs.attempts(run.id):
        at = f" at step {attempt.resumed_at}" if attempt.resumed_at > 0 else ""
        told.append((attempt.started, f"attempt {attempt.attempt} begins{at}"))
    with store.database.read() as session:
        commands = select(Command).where(Command.run_id == run.id).order_by(Command.id)
        for command in session.scalars(commands):
            seen = "" if command.acknowledged else " (the job has not seen it yet)"
            told.append((command.issued, f"asked to {command.name}{seen}"))
    for note in store.synthesis.verdicts(run.id, "note"):
        told.append((note.created, f"{note.said.level}: {note.said.text}"))
    for one in store.synthesis.rounds(run.id) if run.kind in SEARCHES else ():
        told.append((one.started, f"round {one.round + 1} of the search begins"))
        if one.ended:
            reason = labelled(one.reason or "nothing was selected")
            told.append((one.ended, f"round {one.round + 1} ends: {reason}"))
    if run.seed is None:
        told += _trainings(run, trainings)
    if status == "died":
        told.append((run.beat or run.created, "last heartbeat: its process is gone"))
    elif run.ended:
        told.append((run.ended, f"{run.status}{': ' + run.error if run.error else ''}"))
    return [f"{_clock(when)} {what}" for when, what in sorted(told)[-_MOST_LINES:]]


def _trainings(run: Run, trainings: Sequence[RunFacts]) -> Iterator[tuple[float, str]]:
    """Starts and ends of a run's trainings, with their returns."""
    rows = [row for row in run.outcome.rows if isinstance(row, dict)]
    returns = {row.get("run"): row.get("return_mean") for row in rows}
    for one in trainings:
        name = f"training {run_name(one.id)} ({one.algo}, seed {one.seed})"
        if one.began:
            yield one.began, f"{name} begins"
        if one.ended:
            found = returns.get(one.id)
            came = f", mean return {number(found)}" if isinstance(found, int | float) else ""
            yield one.ended, f"{name} {one.status}{came}{': ' + one.error if one.error else ''}"


def _files(folder: Path) -> tuple[str, ...]:
    """Names of files and folders, not recursive."""
    try:
        found = sorted(folder.iterdir())[:_MOST_FILES]
        return tuple(f"{path.name}{'/' if path.is_dir() else ''}" for path in found)
    except OSError:
        return ()


def _clock(when: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(when))


def _file_of(home: Path, run_id: int, memory: dict[str, Any]) -> Path | None:
    """The newest log of a job that names this run.

    A job names its run in its first lines, which are read once.
    """
    from qllm.tui.jobs import LOG_FOLDER

    known: dict[Path, frozenset[int]] = memory.setdefault("log_files", {})
    try:
        files = sorted((home / LOG_FOLDER).glob("*.log"), reverse=True)[:_MOST_FILES]
    except OSError:
        return None
    for path in files:
        if not known.get(path):
            try:
                with open(open_regular(path), "rb") as file:
                    head = file.read(_HEAD_BYTES)
            except (OSError, BoundsError):
                continue
            known[path] = frozenset(int(number) for number in _RUN.findall(head))
        if run_id in known[path]:
            return path
    return None
