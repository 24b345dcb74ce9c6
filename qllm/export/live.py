"""Logs that a training writes into its run's folder while it runs.

The store comes first: a log only repeats it, line for line as ``qllm export`` would. So every
attempt begins by writing its logs anew from the store, up to the checkpoint that it goes on from;
neither what it will do again nor a line that a killed process left half done stays in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, Self, TextIO

from qllm.export.records import (
    FIELDS,
    Point,
    Source,
    TableName,
    append_json_lines,
    write_json_lines,
)
from qllm.export.tensorboard import EventFile, require_tensorboard, write_events
from qllm.store.numbers import run_name
from qllm.store.store import Store
from qllm.store.training import MetricPoint

LogKind = Literal["jsonl", "tensorboard"]

EVENTS_FOLDER = "tensorboard"


def require_logs(kinds: Sequence[LogKind]) -> None:
    """Find out whether the logs can be written on this machine.

    Raises:
        UsageError: a package is missing; the message says what to install.
    """
    if "tensorboard" in kinds:
        require_tensorboard()


class _Log(Protocol):
    def add(self, points: Sequence[Point]) -> None: ...

    def close(self) -> None: ...


class _JsonLines:
    def __init__(self, store: Store, source: Source, folder: Path) -> None:
        self._source = source
        self._files: dict[TableName, TextIO] = {}
        for name in FIELDS:
            path = folder / f"{name}.jsonl"
            write_json_lines(path, source.table(store, name))
            self._files[name] = path.open("a", encoding="utf-8")

    def add(self, points: Sequence[Point]) -> None:
        for point in points:
            name: TableName = "metrics" if isinstance(point, MetricPoint) else "evaluations"
            append_json_lines(self._files[name], self._source.records(point))
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class TrainingLogs:
    """The logs of one training, as a context manager that closes them.

    A log that cannot be written (a full disk) is given up with a warning: the numbers are in the
    store, and no training fails because of a copy.

    Args:
        store: where the numbers are recorded.
        run_id: the training.
        kinds: which logs; without any, nothing is written.
        warn: told when a log is given up.
    """

    def __init__(
        self, store: Store, run_id: int, kinds: Sequence[LogKind], warn: Callable[[str], None]
    ) -> None:
        self._store, self._run_id, self._kinds, self._warn = store, run_id, kinds, warn
        self._logs: dict[LogKind, _Log] = {}

    def begin(self, attempt: int) -> None:
        """Open the logs with what the store has that still counts.

        Args:
            attempt: the attempt of the run, which must have begun in the store.
        """
        if not self._kinds:
            return
        source = Source.of(self._store.runs.get(self._run_id))
        for kind in self._kinds:
            with self._kept(kind):
                folder = self._store.make_run_dir(self._run_id)
                self._logs[kind] = (
                    _JsonLines(self._store, source, folder)
                    if kind == "jsonl"
                    else EventFile(
                        write_events(folder / EVENTS_FOLDER, self._store, source, attempt), source
                    )
                )

    def add(self, points: Sequence[Point]) -> None:
        """Log numbers that the store has just recorded."""
        for kind, log in list(self._logs.items()):
            with self._kept(kind):
                log.add(points)

    @contextmanager
    def _kept(self, kind: LogKind) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log = self._logs.pop(kind, None)
            reason, name = error.strerror or error, run_name(self._run_id)
            self._warn(
                f"run {name}: the log {kind} cannot be written ({reason}) and ends here;"
                f" `qllm export {name} --format {kind}` writes all of it"
            )
            if log is not None:
                _close(log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._logs:
            _close(self._logs.popitem()[1])


def _close(log: _Log) -> None:
    try:
        log.close()
    except OSError:
        return  # what could not be flushed is in the store
