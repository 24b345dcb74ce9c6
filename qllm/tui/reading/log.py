"""What a run has said: its starts, requests to it, notes, its error, and what it printed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qllm.store.schema import Run
    from qllm.store.store import Store

_TAIL_BYTES = 32_768
_HEAD_BYTES = 4_096
_MOST_FILES = 200
_MOST_LINES = 400
_RUN = re.compile(rb"^run (\d+): ", re.MULTILINE)


@dataclass(frozen=True)
class Log:
    """Lines of text that others wrote, oldest first; to be made safe before they are shown."""

    events: tuple[str, ...]
    printed: tuple[str, ...]
    """The end of what the job printed, where it was started from the app."""
    path: str = ""
    """The file of it."""


def read_log(store: Store, run: Run, memory: dict[str, Any]) -> Log:
    """A run's log as it stands."""
    path = _file_of(store.home, run.id, memory)
    return Log(tuple(_events(store, run)), _tail(path) if path else (), str(path or ""))


def _events(store: Store, run: Run) -> list[str]:
    from sqlalchemy import select

    from qllm.store.schema import Command, Verdict

    told: list[tuple[float, str]] = [(run.created, f"made by {run.command}")]
    for attempt in store.runs.attempts(run.id):
        at = f" at step {attempt.resumed_at}" if attempt.resumed_at > 0 else ""
        told.append((attempt.started, f"attempt {attempt.attempt} begins{at}"))
    with store.database.read() as session:
        commands = select(Command).where(Command.run_id == run.id).order_by(Command.id)
        for command in session.scalars(commands):
            seen = "" if command.acknowledged else " (the job has not seen it yet)"
            told.append((command.issued, f"asked to {command.name}{seen}"))
        notes = select(Verdict).where(Verdict.run_id == run.id, Verdict.kind == "note")
        for note in session.scalars(notes):
            told.append((note.created, f"{note.reason.get('level')}: {note.reason.get('text')}"))
    if run.ended:
        told.append((run.ended, f"{run.status}{': ' + run.error if run.error else ''}"))
    return [f"{_clock(when)} {what}" for when, what in sorted(told)[-_MOST_LINES:]]


def _clock(when: float) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.localtime(when))


def _file_of(home: Path, run_id: int, memory: dict[str, Any]) -> Path | None:
    """The newest log of a job that said that it works on this run.

    A job names its run in its first lines; files that did so once are not read again.
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
                with path.open("rb") as file:
                    head = file.read(_HEAD_BYTES)
            except OSError:
                continue
            known[path] = frozenset(int(number) for number in _RUN.findall(head))
        if run_id in known[path]:
            return path
    return None


def _tail(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-_MOST_LINES:])
