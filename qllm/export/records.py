"""Records of a training's numbers and their files, shared by exports and live logs."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from qllm.drafts import drafted
from qllm.json_text import encode_json, finite
from qllm.store.schema import Run
from qllm.store.store import Store
from qllm.trackers.points import MetricPoint, Point

Record = dict[str, Any]
TableName = Literal["metrics", "evaluations"]

FIELDS: dict[TableName, tuple[str, ...]] = {
    "metrics": ("run", "algo", "seed", "env_steps", "wall_s", "name", "value"),
    "evaluations": ("run", "algo", "seed", "env_steps", "wall_s", "episode", "return"),
}
"""Fields of a record. A metric's ``value`` is None where the number was not finite; an evaluation
has a record for each ``episode``, counted from 0."""


@dataclass(frozen=True)
class Source:
    """The training that recorded the numbers."""

    run: int
    algo: str
    seed: int
    began: float
    """Seconds since the epoch when it was started for the first time."""

    @classmethod
    def of(cls, run: Run) -> Source:
        """The source for a run that trains one algorithm with one seed, and has begun."""
        assert run.algo is not None
        assert run.seed is not None
        began = run.created if run.started is None else run.started
        return cls(run.id, run.algo, run.seed, began)

    def points(self, store: Store) -> dict[TableName, Iterable[Point]]:
        """The stored numbers, in the order of their steps."""
        return {
            "metrics": store.training.every_metric(self.run),
            "evaluations": store.training.evaluations(self.run),
        }

    def in_order(self, store: Store) -> list[Point]:
        """The stored numbers of both tables in the order of their steps."""
        return list(heapq.merge(*self.points(store).values(), key=lambda point: point.env_steps))

    def records(self, point: Point) -> Iterator[Record]:
        """The record of a metric, or those of an evaluation's episodes."""
        at = (self.run, self.algo, self.seed, point.env_steps, point.wall_s)
        if isinstance(point, MetricPoint):
            yield dict(zip(FIELDS["metrics"], (*at, point.name, point.value), strict=True))
        else:
            for episode, value in enumerate(point.returns):
                yield dict(zip(FIELDS["evaluations"], (*at, episode, value), strict=True))

    def table(self, store: Store, name: TableName) -> Iterator[Record]:
        """All records of a table."""
        for point in self.points(store)[name]:
            yield from self.records(point)


def write_csv(path: Path, fields: Sequence[str], records: Iterable[Record]) -> None:
    """Write a table with a header; an empty cell stands for None, NaN and the infinities.

    Raises:
        OSError: it cannot be written.
    """
    with drafted(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(finite(record) for record in records)


def write_json_lines(path: Path, records: Iterable[Record]) -> None:
    """Write a line of strict JSON for each record; null stands for NaN and the infinities.

    Raises:
        OSError: it cannot be written.
    """
    with drafted(path) as draft, draft.open("w", encoding="utf-8") as file:
        append_json_lines(file, records)


def append_json_lines(file: TextIO, records: Iterable[Record]) -> None:
    """The same on a file that is open already."""
    file.writelines(encode_json(record) + "\n" for record in records)
