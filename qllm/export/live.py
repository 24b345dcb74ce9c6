"""Trackers of a training while it runs.

The store comes first: a tracker only repeats it, and no training fails because of a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from marl.settings.train import TrainConfig
from qllm.config.tree import RunConfig
from qllm.export.kinds import TRACKERS
from qllm.export.records import Source
from qllm.store.numbers import run_name
from qllm.store.store import Store
from qllm.trackers.points import Point
from qllm.trackers.protocol import Status, TrackedRun, Tracker, reason

_TRACKED = (*TrainConfig.model_fields, "task", "preset", "gate")
"""Settings that a tracker gets: those that change the learning."""


class TrainingLogs:
    """The trackers of one training, as a context manager that finishes them.

    One that fails (a full disk, a server that is down) is given up with a warning.

    Args:
        config: its settings; ``log`` names the trackers, and without any nothing is written.
    """

    def __init__(
        self, store: Store, run_id: int, config: RunConfig, warn: Callable[[str], None]
    ) -> None:
        self._store, self._run_id, self._config, self._warn = store, run_id, config, warn
        self._trackers: dict[str, Tracker] = {}

    def begin(self, attempt: int) -> None:
        """Open the trackers with what the store has that still counts.

        Args:
            attempt: the attempt of the run, which must have begun in the store.
        """
        if not self._config.log:
            return
        for name in self._config.log:
            with self._kept(name):
                tracker = TRACKERS[name].make()
                tracker.begin(self._tracked(attempt))
                self._trackers[name] = tracker

    def _tracked(self, attempt: int) -> TrackedRun:
        run = self._store.runs.get(self._run_id)
        source = Source.of(run)
        folder = self._store.make_run_dir(run.id)
        settings = self._config.model_dump(mode="json")
        return TrackedRun(
            id=run.id,
            uid=self._store.runs.uid(run.id) or f"{run.name}-{source.began:.0f}",
            name=run.name,
            group=self._group(run.parent_id or run.id),
            task=run.task,
            algo=source.algo,
            seed=source.seed,
            began=source.began,
            attempt=attempt,
            config={key: settings[key] for key in _TRACKED},
            versions=run.versions,
            home=self._store.home,
            folder=folder,
            settings=self._config.tracking,
            points=source.in_order(self._store),
        )

    def _group(self, run_id: int) -> str:
        uid = self._store.runs.uid(run_id) or ""
        return "-".join(filter(None, (f"run-{run_name(run_id)}", uid[:8])))

    def add(self, points: Sequence[Point]) -> None:
        """Pass on numbers that the store has just recorded."""
        for name, tracker in list(self._trackers.items()):
            with self._kept(name):
                tracker.add(points)

    def finish(self, status: Status) -> None:
        """End the trackers."""
        while self._trackers:
            name, tracker = self._trackers.popitem()
            with self._kept(name):
                tracker.finish(status)

    @contextmanager
    def _kept(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a service comes up with
            failed = self._trackers.pop(name, None)
            if failed is not None:
                with suppress(Exception):  # what it could not write is in the store
                    failed.finish("failed")
            run = run_name(self._run_id)
            form = f" --format {name}" if name in TRACKERS.own and TRACKERS[name].files else ""
            self._warn(
                f"run {run}: the log {name} cannot be written ({reason(error)}) and ends here;"
                f" `qllm export {run}{form}` writes all of it"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is None or issubclass(kind, KeyboardInterrupt)
        self.finish("stopped" if interrupted else "failed")
