"""Trackers that write files into a training's folder, as ``qllm export`` writes them.

They are written in the training's own thread, so that they have what the store has. Every attempt
begins by writing them anew: neither what it will do again nor a line that a killed process left
half done stays in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from qllm.export.records import FIELDS, Source, TableName, append_json_lines, write_json_lines
from qllm.export.tensorboard import EventFile, write_events
from qllm.trackers.points import MetricPoint, Point
from qllm.trackers.protocol import Status, TrackedRun

EVENTS_FOLDER = "tensorboard"


def _source(run: TrackedRun) -> Source:
    return Source(run.id, run.algo, run.seed, run.began)


def _table(point: Point) -> TableName:
    return "metrics" if isinstance(point, MetricPoint) else "evaluations"


class JsonLines:
    """``metrics.jsonl`` and ``evaluations.jsonl``."""

    def begin(self, run: TrackedRun) -> None:
        self._source = _source(run)
        self._files: dict[TableName, TextIO] = {}
        for name in FIELDS:
            path = run.folder / f"{name}.jsonl"
            own = (point for point in run.points if _table(point) == name)
            write_json_lines(path, (r for point in own for r in self._source.records(point)))
            self._files[name] = path.open("a", encoding="utf-8")

    def add(self, points: Sequence[Point]) -> None:
        for point in points:
            append_json_lines(self._files[_table(point)], self._source.records(point))
        for file in self._files.values():
            file.flush()

    def finish(self, status: Status) -> None:
        for file in self._files.values():
            file.close()


class EventFiles:
    """A TensorBoard event file below ``tensorboard/``."""

    def begin(self, run: TrackedRun) -> None:
        source = _source(run)
        path = write_events(run.folder / EVENTS_FOLDER, source, run.points, run.attempt)
        self._file = EventFile(path, source)

    def add(self, points: Sequence[Point]) -> None:
        self._file.add(points)

    def finish(self, status: Status) -> None:
        self._file.close()
